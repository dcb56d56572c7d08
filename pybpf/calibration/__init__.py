"""Finding offsets in kernel structures by looking at objects that are known, where no BTF tells them."""
