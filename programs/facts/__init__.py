"""What the programs are made of and made for: the kernel, the records, the maps, the catalogue of system calls."""
