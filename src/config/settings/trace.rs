//! Settings of traces, checked one by one and against each other.

use super::check::Check;
use crate::trace::{Protocol, Ratio, Service, Settings, collector::Collector};

impl Check<'_> {
    /// None: nothing is traced.
    pub(super) fn trace(&mut self) -> Option<Settings> {
        let protocol = self.words("trace_protocol", &[("grpc", Protocol::Grpc), ("http/protobuf", Protocol::Http)]);
        let ratio = self.parse("trace_ratio", "a number from 0 to 1", |text| text.parse().ok().and_then(Ratio::new));
        let service = Service {
            name: self.text("trace_service_name"),
            namespace: self.optional_text("trace_service_namespace"),
            instance: self.optional_text("trace_service_instance"),
        };
        let ca = self.file("trace_tls_ca_file");
        self.optional_text("trace_endpoint")?;
        let expected = "`http://HOST[:PORT]` or `https://HOST[:PORT]`, over http/protobuf with a path if need be";
        let collector = self.parse("trace_endpoint", expected, |text| Collector::parse(text, protocol))?;
        if !collector.tls {
            self.given("trace_tls_ca_file", "a `trace_endpoint` that begins with `https://`");
        }
        Some(Settings { collector, ca, ratio: ratio?, service })
    }
}
