//! Files that do not load, and what their authors are told.

use proptest::prelude::*;

use super::*;
