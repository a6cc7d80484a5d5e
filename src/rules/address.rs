//! Addresses: normalising, and the networks that counters and rules name.
