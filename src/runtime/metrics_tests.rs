use super::*;

#[test]
fn whoever_asks_for_openmetrics_gets_it_and_everybody_else_what_everybody_reads() {
    use Format::{OpenMetrics, Prometheus};
    // Prometheus 2.5, 2.49 and 3; curl; a browser; a probe that says nothing.
    for (accept, expected) in [
        (
            "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics,
        ),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OpenMetrics,
        ),
        (
            "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,*/*;q=0.1",
            Prometheus,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.1",
            OpenMetrics,
        ),
        ("*/*", Prometheus),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Prometheus),
        ("", Prometheus),
        ("application/openmetrics-text;q=0, text/plain", Prometheus),
        ("application/openmetrics-text;q=much", Prometheus),
        (",;,q=1;;", Prometheus),
    ] {
        assert_eq!(Format::preferred(accept), expected, "{accept}");
    }
}
