"""Finding the offsets of kernel structures by looking at known objects, where no BTF tells them."""
