//! Addresses: normalising, and the networks that counters and rules name.
//!
//! One client must not become several by spelling its address differently, nor several clients one: an IPv4 address
//! that travels as `::ffff:1.2.3.4` would otherwise share `::/64` with every other such client.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
};

use ipnet::{IpNet, Ipv4Net};

/// Bits of a whole IPv6 address; a prefix of so many names the address itself.
const IPV6_BITS: u8 = 128;
/// The longest spelling without brackets and zone: eight groups, the last two as IPv4 (`ffff:…:255.255.255.255`).
const SPELLING_MAX_BYTES: usize = 45;
/// The longest [`Text`]: eight groups of four digits, seven colons, `/127`.
const TEXT_MAX_BYTES: usize = 8 * 4 + 7 + 4;
/// IPv4 addresses inside IPv6 ones stand behind so many fixed bits, `::ffff:0:0/96`.
const MAPPED_PREFIX: u8 = 96;

/// An IP address; never an IPv4 one in IPv6's clothes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(IpAddr);

impl Address {
    /// Reads an address in any spelling that reaches us: upper case, IPv6 in brackets or with a zone (which is dropped:
    /// it names a network card of the proxy), IPv4-mapped (which becomes IPv4).
    ///
    /// None for everything else, ports and IPv4 with leading zeros included: to guess would merge clients.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (inner, bracketed) = match value {
            [b'[', inner @ .., b']'] => (inner, true),
            _ => (value, false),
        };
        let (digits, zoned) = match inner.iter().position(|&byte| byte == b'%') {
            Some(at) if is_zone(&inner[at + 1..]) => (&inner[..at], true),
            Some(_) => return None,
            None => (inner, false),
        };
        if digits.len() > SPELLING_MAX_BYTES {
            return None;
        }
        let digits = std::str::from_utf8(digits).ok()?;
        let ip = if bracketed || zoned { IpAddr::V6(digits.parse().ok()?) } else { digits.parse().ok()? };
        Some(Self::from(ip))
    }

    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// Whether `value`, from which this address was parsed, is certainly its canonical spelling: so it is for IPv4 with
    /// dots, and nearly every request saves the writing.
    pub fn is_spelled(self, value: &[u8]) -> bool {
        self.0.is_ipv4() && !value.contains(&b':')
    }

    /// The canonical spelling (RFC 5952), which parses to the same address.
    pub fn text(self) -> Text {
        let mut text = Text::EMPTY;
        match self.0 {
            IpAddr::V4(ip) => text.push_ipv4(ip),
            IpAddr::V6(ip) => text.push_ipv6(ip),
        }
        text
    }

    /// The network that this address is counted with, such as `2001:db8::/64`; None where it is counted alone: every
    /// IPv4 address, and an IPv6 one where the prefix is all of it.
    pub fn network(self, ipv6_prefix: u8) -> Option<Text> {
        let IpAddr::V6(ip) = self.0 else { return None };
        if ipv6_prefix >= IPV6_BITS {
            return None;
        }
        let mask = u128::MAX.checked_shl(u32::from(IPV6_BITS - ipv6_prefix)).unwrap_or(0);
        let mut text = Text::EMPTY;
        text.push_ipv6(Ipv6Addr::from_bits(ip.to_bits() & mask));
        text.push(b'/');
        text.push_decimal(ipv6_prefix);
        Some(text)
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self(ip.to_canonical())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text(), f)
    }
}

/// `network` as addresses are compared with it: without host bits, and IPv4 where it holds mapped addresses only.
pub fn canonical_network(network: IpNet) -> IpNet {
    let network = network.trunc();
    let IpNet::V6(mapped) = network else { return network };
    match (mapped.network().to_ipv4_mapped(), mapped.prefix_len().checked_sub(MAPPED_PREFIX)) {
        (Some(first), Some(prefix)) => Ipv4Net::new(first, prefix).map_or(network, IpNet::V4),
        _ => network,
    }
}

/// Whether `zone` can follow the `%` of an IPv6 address (RFC 6874): the name or number of an interface.
fn is_zone(zone: &[u8]) -> bool {
    !zone.is_empty() && zone.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte))
}

/// An address or network as text, on the stack.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; TEXT_MAX_BYTES],
    len: u8,
}

impl Text {
    const EMPTY: Self = Self { bytes: [0; TEXT_MAX_BYTES], len: 0 };

    fn push(&mut self, byte: u8) {
        // The buffer holds the longest text there is; that nothing is lost is what the tests show.
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len += 1;
        }
    }

    fn push_decimal(&mut self, number: u8) {
        if number >= 100 {
            self.push(b'0' + number / 100);
        }
        if number >= 10 {
            self.push(b'0' + number / 10 % 10);
        }
        self.push(b'0' + number % 10);
    }

    fn push_hex(&mut self, group: u16) {
        let digits = (16 - group.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            let digit = group >> (4 * place) & 0xf;
            self.push(b"0123456789abcdef"[usize::from(digit)]);
        }
    }

    fn push_ipv4(&mut self, ip: Ipv4Addr) {
        for (place, octet) in ip.octets().into_iter().enumerate() {
            if place > 0 {
                self.push(b'.');
            }
            self.push_decimal(octet);
        }
    }

    fn push_ipv6(&mut self, ip: Ipv6Addr) {
        let groups = ip.segments();
        let (gap, gap_len) = longest_gap(groups);
        let mut place = 0;
        while place < groups.len() {
            if place == gap && gap_len > 0 {
                self.push(b':');
                self.push(b':');
                place += gap_len;
                continue;
            }
            if place > 0 && (gap_len == 0 || place != gap + gap_len) {
                self.push(b':');
            }
            self.push_hex(groups[place]);
            place += 1;
        }
    }
}

/// Where the zeros stand that are written as `::`, and how many: the longest run of two or more, the first of equals.
fn longest_gap(groups: [u16; 8]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = 0;
    for (place, &group) in groups.iter().enumerate() {
        run = if group == 0 { run + 1 } else { 0 };
        if run >= 2 && run > best.1 {
            best = (place + 1 - run, run);
        }
    }
    best
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Digits, letters, dots, colons and a slash: always UTF-8.
        f.pad(std::str::from_utf8(self).unwrap_or_default())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(value: &str) -> Option<String> {
        Address::parse(value.as_bytes()).map(|address| address.to_string())
    }

    #[test]
    fn every_spelling_of_an_address_becomes_the_same_text() {
        for (value, text) in [
            ("10.0.0.1", "10.0.0.1"),
            ("255.255.255.255", "255.255.255.255"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::FFFF:a00:1", "10.0.0.1"),
            ("[::ffff:10.0.0.1]", "10.0.0.1"),
            ("2001:DB8::A", "2001:db8::a"),
            ("2001:0db8:0:0:0:0:0:1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25]", "fe80::1"),
            ("0000:0000:0000:0000:0000:ffff:192.168.100.200", "192.168.100.200"),
            ("::", "::"),
            ("::1", "::1"),
            ("1::", "1::"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:0:0:2:3:0:0:4", "1::2:3:0:0:4"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
            ("::1.2.3.4", "::102:304"),
        ] {
            assert_eq!(parsed(value).as_deref(), Some(text), "{value}");
            let address = Address::parse(value.as_bytes()).unwrap();
            assert!(!address.is_spelled(value.as_bytes()) || value == text, "{value}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for value in [
            "",
            " ",
            "a",
            "10.0.0",
            "10.0.0.256",
            "010.0.0.1",
            "10.0.0.1 ",
            "10.0.0.1:80",
            "[10.0.0.1]",
            "10.0.0.1%eth0",
            "[::1",
            "::1]",
            "[]",
            "[[::1]]",
            "[::1]:443",
            "::1%",
            "::1%a b",
            "%eth0",
            "::1/64",
            "1:2:3:4:5:6:7:8:9",
            ":::",
            "00000000:0000:0000:0000:0000:ffff:192.168.100.200",
        ] {
            assert_eq!(parsed(value), None, "{value}");
        }
        assert_eq!(Address::parse(b"10.0.0.\xff"), None);
        assert_eq!(Address::parse(&b":".repeat(65_536)), None);
    }

    #[test]
    fn a_network_is_what_an_ipv6_address_is_counted_with() {
        for (value, prefix, network) in [
            ("2001:db8:1:2:3:4:5:6", 64, Some("2001:db8:1:2::/64")),
            ("2001:db8:1:2:3:4:5:6", 48, Some("2001:db8:1::/48")),
            ("2001:db8:1:2:3:4:5:6", 0, Some("::/0")),
            ("2001:db8:1:2:3:4:5:6", 127, Some("2001:db8:1:2:3:4:5:6/127")),
            ("2001:db8:1:2:3:4:5:6", 128, None),
            ("2001:db8:1:2:3:4:5:6", 255, None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 127, Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127")),
            ("10.0.0.1", 64, None),
            ("::ffff:10.0.0.1", 64, None),
        ] {
            let counted = Address::parse(value.as_bytes()).unwrap().network(prefix);
            assert_eq!(counted.map(|text| text.to_string()).as_deref(), network, "{value} by {prefix}");
        }
    }

    #[test]
    fn a_network_of_mapped_addresses_is_ipv4() {
        for (written, canonical) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("fd00::1/8", "fd00::/8"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:10.0.0.1/128", "10.0.0.1/32"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(canonical_network(written.parse().unwrap()).to_string(), canonical, "{written}");
        }
    }

    proptest! {
        #[test]
        fn text_is_what_the_standard_library_writes_and_reads(bits: u128, mask: u128, v4: u32) {
            for ip in [IpAddr::V6(Ipv6Addr::from_bits(bits & mask)), IpAddr::V4(Ipv4Addr::from_bits(v4))] {
                let address = Address::from(ip);
                prop_assert_eq!(address.to_string(), address.ip().to_string());
                prop_assert_eq!(Address::parse(&address.text()), Some(address));
            }
        }

        #[test]
        fn a_network_contains_the_addresses_that_are_counted_with_it(bits: u128, prefix in 0u8..128) {
            let address = Address::from(IpAddr::V6(Ipv6Addr::from_bits(bits)));
            if let Some(text) = address.network(prefix) {
                let network: IpNet = text.to_string().parse().unwrap();
                prop_assert!(network.contains(&address.ip()));
                prop_assert_eq!(network, network.trunc());
            }
        }

        #[test]
        fn no_bytes_make_it_fail(value: Vec<u8>, digits in "[0-9a-f:.%\\[\\]]{0,50}") {
            let _ = Address::parse(&value);
            let _ = Address::parse(digits.as_bytes());
        }
    }
}
