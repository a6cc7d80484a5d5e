//! Where spans are sent, as the settings say it.

use std::fmt;

use http::Uri;

/// What collects spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    pub protocol: Protocol,
    /// Connections are encrypted.
    pub tls: bool,
    /// A name or an address; an IPv6 one without brackets.
    pub host: Box<str>,
    pub port: u16,
    /// Of a proxy before it; without a `/` at its end. Always empty over gRPC.
    pub path: Box<str>,
}

/// How it is spoken to: the ways of OTLP that every collector knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Grpc,
    /// Protobuf in the body of a POST.
    Http,
}

impl Protocol {
    /// Where collectors listen for it.
    const fn port(self) -> u16 {
        match self {
            Self::Grpc => 4_317,
            Self::Http => 4_318,
        }
    }
}

impl Collector {
    /// Reads `http://HOST[:PORT]`, or `https`; over HTTP with a path, to which `/v1/traces` is added as the
    /// [specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/) says. No password: it would be shown.
    pub fn parse(url: &str, protocol: Protocol) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_matches(['[', ']']);
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => protocol.port(),
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        let path = uri.path().trim_end_matches('/');
        let good = !host.is_empty() && port != 0 && uri.query().is_none() && !url.contains('#');
        let good = good && (protocol == Protocol::Http || path.is_empty());
        good.then(|| Self { protocol, tls, host: host.into(), port, path: path.into() })
    }

    /// What is asked, as a URL. Over gRPC its path is that of the service.
    pub(super) fn url(&self) -> String {
        let path = match self.protocol {
            Protocol::Grpc => "",
            Protocol::Http => "/v1/traces",
        };
        format!("{self}{path}")
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port, path, .. } = self;
        let scheme = if *tls { "https" } else { "http" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol::*, *};

    #[test]
    fn a_url_says_where_spans_go() {
        for (text, protocol, url) in [
            ("http://collector:4317", Grpc, Some("http://collector:4317")),
            ("http://collector", Grpc, Some("http://collector:4317")),
            ("https://collector/", Grpc, Some("https://collector:4317")),
            ("http://collector", Http, Some("http://collector:4318/v1/traces")),
            ("http://collector:80/otlp/", Http, Some("http://collector:80/otlp/v1/traces")),
            ("https://[::1]:4318", Http, Some("https://[::1]:4318/v1/traces")),
            ("http://collector/otlp", Grpc, None),
            ("collector:4317", Grpc, None),
            ("grpc://collector", Grpc, None),
            ("http://collector:0", Grpc, None),
            ("http://collector:65536", Grpc, None),
            ("http://collector:", Grpc, None),
            ("http://me:canary@collector", Grpc, None),
            ("http://collector?key=canary", Http, None),
            ("http://collector/#part", Http, None),
            ("http://", Grpc, None),
            ("", Grpc, None),
        ] {
            let collector = Collector::parse(text, protocol);
            assert_eq!(collector.map(|collector| collector.url()).as_deref(), url, "{text} {protocol:?}");
        }
    }
}
