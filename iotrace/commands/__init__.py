"""The commands of `iotrace`, one module each: HELP, setup(parser) and run(args); `iotrace.cli` says more."""
