//! Two small charts: bars for a terminal, and the same as SVG.

use std::fmt::Write;

/// One bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
}

/// Bars of one unit, under one heading.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) bars: Vec<Bar>,
}

const COLUMNS: f64 = 48.0;

impl Chart {
    fn most(&self) -> f64 {
        self.bars
            .iter()
            .map(|bar| bar.value)
            .fold(f64::MIN_POSITIVE, f64::max)
    }

    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let width = self
            .bars
            .iter()
            .map(|bar| bar.label.chars().count())
            .max()
            .unwrap_or(0);
        let mut text = format!("{}\n", self.title);
        for bar in &self.bars {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the number of columns"
            )]
            let length = (bar.value / self.most() * COLUMNS).round().max(1.0) as usize;
            let Bar { label, value } = bar;
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "  {label:<width$}  {} {value:.2} {}",
                "█".repeat(length),
                self.unit
            );
        }
        text
    }
}

/// All charts, one below the other.
pub(crate) fn svg(charts: &[Chart]) -> String {
    const LINE: f64 = 24.0;
    const LABELS: f64 = 420.0;
    const BARS: f64 = 440.0;
    let lines: usize = charts.iter().map(|chart| chart.bars.len() + 2).sum();
    #[allow(clippy::cast_precision_loss, reason = "a few lines")]
    let height = lines as f64 * LINE + LINE;
    let mut body = String::new();
    let mut y = LINE;
    for chart in charts {
        let title = escape(&chart.title);
        let _ = writeln!(
            body,
            r#"<text x="12" y="{y}" font-weight="bold">{title}</text>"#
        );
        for bar in &chart.bars {
            y += LINE;
            let label = escape(&bar.label);
            let length = (bar.value / chart.most() * BARS).max(1.0);
            let (top, end) = (y - 13.0, LABELS + length + 6.0);
            let (value, unit) = (bar.value, escape(chart.unit));
            let _ = writeln!(
                body,
                r##"<text x="{LABELS}" y="{y}" text-anchor="end" dx="-8">{label}</text><rect x="{LABELS}" y="{top}" width="{length:.1}" height="16" fill="#4078c0"/><text x="{end:.1}" y="{y}">{value:.2} {unit}</text>"##
            );
        }
        y += 2.0 * LINE;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"980\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_width_and_none_is_invisible() {
        let bar = |label: &str, value| Bar {
            label: label.to_owned(),
            value,
        };
        let chart = Chart {
            title: "a < b".to_owned(),
            unit: "s",
            bars: vec![bar("long", 100.0), bar("short", 0.0)],
        };
        let text = chart.text();
        let lengths: Vec<_> = text
            .lines()
            .skip(1)
            .map(|line| line.matches('█').count())
            .collect();
        assert_eq!(lengths, [48, 1]);
        let svg = svg(&[chart]);
        assert!(
            svg.contains("a &lt; b") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
    }
}
