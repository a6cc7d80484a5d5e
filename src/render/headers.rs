//! The header profiles: one file each, and this table of them.
//!
//! | profile | sends |
//! |---|---|

/// Which rate-limit headers an answer carries.
#[derive(Debug, Default)]
pub enum Headers {
    #[default]
    None,
}
