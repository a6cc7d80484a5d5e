//! Dynamic metadata: what access logs and other filters read.
