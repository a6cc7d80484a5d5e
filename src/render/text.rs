//! Escaping: text that clients sent, put where it can do no harm.
