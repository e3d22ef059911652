"""Whether, when and where a stage runs: parameters, plan, keys, reasons, execution."""
