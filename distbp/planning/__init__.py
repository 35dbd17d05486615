"""What a run would take, before it starts: benchmarks, a rehearsal on this machine, a model of hosts, the doctor."""
