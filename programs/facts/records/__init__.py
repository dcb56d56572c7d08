"""Every record that the programs and user space share, defined once.

The assembler takes offsets from these definitions, and whoever reads a map takes its unpackers. Times are nanoseconds
of CLOCK_MONOTONIC (bpf_ktime_get_ns), sizes and offsets are bytes, and everything is little-endian. Bucket 0 of a
histogram counts zeros, bucket k counts values in [2^(k-1), 2^k).
"""

from programs.facts.records.abi import *
from programs.facts.records.call import *
from programs.facts.records.counters import *
from programs.facts.records.file import *
from programs.facts.records.path import *
from programs.facts.records.request import *
from programs.facts.records.series import *
from programs.facts.records.targets import *
