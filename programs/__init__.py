"""iotrace's BPF programs, as data: functions that emit instructions, the same everywhere for the same kernel facts.

The way of a system call through this package::

    entry (enter)  ->  targets: whom?  ->  the thread's Call record
    entry (exit)   ->  the Call record ->  identify: which file?  ->  transfer | sync | copies | lifetime: account
                                           path: its name, once   ->  an event to user space
"""
