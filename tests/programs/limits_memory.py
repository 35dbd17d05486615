"""Print how much memory is free for a process that may have four GiB of addresses."""

import resource

import distbp.system.memory

if __name__ == "__main__":
    distbp.system.memory.free_memory()  # asks whether there is a limit: none is kept of what it finds
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
    print(distbp.system.memory.free_memory())
