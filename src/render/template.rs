//! Templates of headers and bodies: compiled to pieces when rules load.
