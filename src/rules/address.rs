//! Addresses: normalising, and the networks that counters and rules name.

#[derive(Clone, Copy, Debug)]
pub struct Address(pub std::net::IpAddr);

impl Address {
    pub fn parse(text: &[u8]) -> Option<Self> {
        std::str::from_utf8(text).ok()?.parse().ok().map(Self)
    }
}
