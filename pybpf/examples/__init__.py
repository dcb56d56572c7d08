"""Two small tools that show what a program, its maps and its links look like; neither has to do with files.

sudo python3 -m pybpf.examples.syscalls_by_process       a hash map, a raw tracepoint: begin here
sudo python3 -m pybpf.examples.scheduler_latency         three tracepoints with fields, a histogram
"""
