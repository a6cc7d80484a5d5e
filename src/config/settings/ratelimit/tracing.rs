//! Traces: `TRACING_…`, and where OpenTelemetry's own variables say that they go.

use super::{Reader, Settings};

pub(super) fn traces(reader: &Reader<'_>, settings: &mut Settings) {
    if reader.boolean("TRACING_ENABLED") != Some(true) {
        return;
    }
    let http = ("http/protobuf", "http://localhost:4318");
    let (protocol, nearby) = reader
        .parse("TRACING_EXPORTER_PROTOCOL", "`http` or `grpc`", |text| match text {
            "http" => Some(http),
            "grpc" => Some(("grpc", "http://localhost:4317")),
            _ => None,
        })
        .unwrap_or(http);
    for (name, setting, default) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "trace_endpoint", Some(nearby)),
        ("TRACING_SAMPLING_RATE", "trace_ratio", Some("1")),
        ("TRACING_SERVICE_NAME", "trace_service_name", Some("RateLimit")),
        ("TRACING_SERVICE_NAMESPACE", "trace_service_namespace", None),
        ("TRACING_SERVICE_INSTANCE_ID", "trace_service_instance", None),
    ] {
        let said = reader.text(name).map(|value| (setting, value, name));
        settings.extend(said.or_else(|| Some((setting, default?.to_owned(), "TRACING_ENABLED"))));
    }
    let variable = reader.text("TRACING_EXPORTER_PROTOCOL").map_or("TRACING_ENABLED", |_| "TRACING_EXPORTER_PROTOCOL");
    settings.push(("trace_protocol", protocol.to_owned(), variable));
}
