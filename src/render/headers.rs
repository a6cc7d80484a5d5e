//! The header profiles: one file each, and this table of them.
//!
//! | profile | sends |
//! |---|---|

/// Which rate-limit headers an answer carries.
#[derive(Debug, Default)]
pub enum Headers {
    #[default]
    None,
    Named(&'static str),
    List(Box<[list::Header]>),
}

impl Headers {
    pub const NAMES: &[&str] = &["none", "x-ratelimit", "ratelimit", "ietf", "github", "envoyproxy"];

    pub fn named(name: &str) -> Option<Self> {
        let name = Self::NAMES.iter().find(|known| **known == name)?;
        Some(if *name == "none" { Self::None } else { Self::Named(name) })
    }
}

pub mod list {
    use crate::render::Fault;

    #[derive(Debug)]
    pub struct Header {
        pub name: String,
        pub value: String,
        pub on: Option<On>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum On {
        Always,
        Deny,
    }

    impl Header {
        /// # Errors
        ///
        /// A name that is no header's, or a template that does not parse.
        pub fn new(name: &str, value_template: &str, on: Option<On>) -> Result<Self, Fault> {
            if name.contains(' ') {
                return Err(Fault { at: 0, message: format!("`{name}` is no header name"), help: None });
            }
            Ok(Self { name: name.to_owned(), value: value_template.to_owned(), on })
        }
    }
}
