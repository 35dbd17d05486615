"""Print the free memory of a process whose address space is limited to 4 GiB."""

import resource

import distbp.system.memory

if __name__ == "__main__":
    distbp.system.memory.free_memory()  # must not cache that there is no limit
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
    print(distbp.system.memory.free_memory())
