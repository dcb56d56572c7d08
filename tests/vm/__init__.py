"""The kernel matrix: the distribution's own kernels in QEMU, and iotrace in each of them."""
