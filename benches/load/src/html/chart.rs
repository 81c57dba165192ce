//! Charts as inline SVG: no script, no font, no resource from elsewhere. Colours are classes, which the page's style gives
//! their meaning in light and in dark.

use std::fmt::Write as _;

use crate::live::thousands;
use crate::number::{float_len, per};
use crate::table::thousands_or_exact;

/// The drawing is so large in its own units; the page scales it.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// About how many lines a scale has.
const TICKS: f64 = 4.0;

/// One line or layer.
#[derive(Debug, Clone)]
pub(super) struct Series<'a> {
    /// What it is.
    pub(super) name: &'a str,
    /// A class that colours it: `c1`, `c2`, …
    pub(super) class: &'static str,
    /// One value a second.
    pub(super) values: Vec<f64>,
}

/// Lines over seconds, from nothing up.
pub(super) fn lines(label: &str, unit: &str, series: &[Series<'_>]) -> String {
    let most = series
        .iter()
        .flat_map(|one| &one.values)
        .fold(0.0, |most: f64, value| most.max(*value));
    let seconds = series.iter().map(|one| one.values.len()).max().unwrap_or(0);
    let scale = Scale::new(most);
    let mut out = open(label);
    scale.grid(&mut out, unit);
    second_marks(&mut out, seconds);
    for (at, one) in series.iter().enumerate() {
        let points: Vec<(f64, f64)> = (1_u32..)
            .zip(&one.values)
            .map(|(second, value)| (x_of(f64::from(second), seconds), scale.y(*value)))
            .collect();
        if at == 0 && series.len() == 1 {
            area(&mut out, &points, one.class);
        }
        path(&mut out, &points, one.class);
        dots(&mut out, &points, one, unit);
    }
    close(out)
}

/// Layers over seconds, one on the other.
pub(super) fn layers(label: &str, unit: &str, series: &[Series<'_>]) -> String {
    let seconds = series.iter().map(|one| one.values.len()).max().unwrap_or(0);
    let mut below = vec![0.0; seconds];
    let mut stacked = Vec::new();
    for one in series {
        let mut top = below.clone();
        for (at, value) in one.values.iter().enumerate() {
            top[at] += value;
        }
        stacked.push((one, below.clone(), top.clone()));
        below = top;
    }
    let scale = Scale::new(below.iter().fold(0.0, |most: f64, value| most.max(*value)));
    let mut out = open(label);
    scale.grid(&mut out, unit);
    second_marks(&mut out, seconds);
    for (one, bottom, top) in stacked {
        let point = |(second, value): (u32, &f64)| (x_of(f64::from(second), seconds), scale.y(*value));
        let mut points: Vec<(f64, f64)> = (1_u32..).zip(&top).map(point).collect();
        let mut back: Vec<(f64, f64)> = (1_u32..).zip(&bottom).map(point).collect();
        back.reverse();
        points.extend(back);
        put(
            &mut out,
            format_args!(
                "<polygon class=\"layer {}\" points=\"{}\"><title>{}</title></polygon>",
                one.class,
                joined(&points),
                escape(one.name)
            ),
        );
    }
    close(out)
}

/// A distribution: bars whose bounds grow by the same factor, with lines where half and 99 of a hundred are.
pub(super) fn distribution(label: &str, bars: &[(f64, u64)], marks: &[(&str, f64)]) -> String {
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let scale = Scale::new(crate::number::float(most));
    let mut out = open(label);
    scale.grid(&mut out, "");
    let width = per(WIDTH - LEFT - RIGHT, float_len(bars.len()));
    for (at, (bound, count)) in bars.iter().enumerate() {
        let (x, y) = (
            LEFT + width * float_len(at),
            scale.y(crate::number::float(*count)),
        );
        let height = (HEIGHT - BOTTOM - y).max(0.0);
        put(
            &mut out,
            format_args!(
                "<rect class=\"bar c1\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>up to {} ms: {count}</title></rect>",
                (width - 0.8).max(0.5),
                thousands_or_exact(*bound)
            ),
        );
    }
    let place = |value: f64| {
        let at = bars
            .iter()
            .position(|(bound, _)| *bound >= value)
            .unwrap_or(bars.len());
        LEFT + width * (float_len(at) + 0.5)
    };
    for (row, (name, value)) in marks.iter().enumerate() {
        let (x, y) = (
            place(*value).min(WIDTH - RIGHT),
            TOP + 8.0 + 12.0 * float_len(row),
        );
        let (anchor, x_of_text) = if x > WIDTH * 0.6 {
            ("end", x - 4.0)
        } else {
            ("start", x + 4.0)
        };
        put(
            &mut out,
            format_args!(
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/><text class=\"mark-text\" x=\"{x_of_text:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{name} {} ms</text>",
                HEIGHT - BOTTOM,
                thousands_or_exact(*value)
            ),
        );
    }
    for share in [0.0, 0.5, 1.0] {
        let at = crate::number::whole(share * (float_len(bars.len()) - 1.0));
        let bound = bars
            .get(usize::try_from(at).unwrap_or(0))
            .map_or(0.0, |(bound, _)| *bound);
        let anchor = if share <= 0.0 {
            "start"
        } else if share >= 1.0 {
            "end"
        } else {
            "middle"
        };
        let x = LEFT + (WIDTH - LEFT - RIGHT) * share;
        put(
            &mut out,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{} ms</text>",
                HEIGHT - 7.0,
                thousands_or_exact(bound)
            ),
        );
    }
    close(out)
}

/// A vertical scale from nothing up to something round.
struct Scale {
    top: f64,
    step: f64,
}

impl Scale {
    fn new(most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let rough = most / TICKS;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
        let step = steps
            .iter()
            .map(|step| step * magnitude)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        Self {
            top: (most / step).ceil() * step,
            step,
        }
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * per(value, self.top).clamp(0.0, 1.0)
    }

    fn grid(&self, out: &mut String, unit: &str) {
        let mut value = 0.0;
        while value <= self.top + self.step / 2.0 {
            let y = self.y(value);
            let told = if self.step < 1.0 {
                format!("{value:.2}")
            } else {
                thousands_plain(value)
            };
            put(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{told}</text>",
                    WIDTH - RIGHT,
                    LEFT - 5.0,
                    y + 3.5
                ),
            );
            value += self.step;
        }
        if !unit.is_empty() {
            put(
                out,
                format_args!(
                    "<text class=\"unit\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{unit}</text>",
                    WIDTH - RIGHT,
                    TOP + 6.0
                ),
            );
        }
    }
}

/// Large values on a scale are written short.
fn thousands_plain(value: f64) -> String {
    if value >= 1_000_000.0 {
        format!("{}M", trimmed(value / 1_000_000.0))
    } else if value >= 1_000.0 {
        format!("{}k", trimmed(value / 1_000.0))
    } else {
        trimmed(value)
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.trim_end_matches(".0").to_owned()
}

fn x_of(second: f64, seconds: usize) -> f64 {
    let last = (float_len(seconds) - 1.0).max(1.0);
    LEFT + (WIDTH - LEFT - RIGHT) * (second - 1.0) / last
}

fn second_marks(out: &mut String, seconds: usize) {
    for share in [0.0, 0.5, 1.0] {
        let second = (1.0 + (float_len(seconds) - 1.0).max(0.0) * share).round();
        let anchor = if share <= 0.0 {
            "start"
        } else if share >= 1.0 {
            "end"
        } else {
            "middle"
        };
        put(
            out,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{second:.0} s</text>",
                x_of(second, seconds),
                HEIGHT - 7.0
            ),
        );
    }
}

fn area(out: &mut String, points: &[(f64, f64)], class: &str) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return;
    };
    let floor = HEIGHT - BOTTOM;
    let mut closed = points.to_vec();
    closed.push((last.0, floor));
    closed.push((first.0, floor));
    put(
        out,
        format_args!("<polygon class=\"area {class}\" points=\"{}\"/>", joined(&closed)),
    );
}

fn path(out: &mut String, points: &[(f64, f64)], class: &str) {
    put(
        out,
        format_args!("<polyline class=\"line {class}\" points=\"{}\"/>", joined(points)),
    );
}

/// Nothing is seen of them; they show their value to whoever points at them.
fn dots(out: &mut String, points: &[(f64, f64)], series: &Series<'_>, unit: &str) {
    for ((second, (x, y)), value) in (1_u32..).zip(points).zip(&series.values) {
        put(
            out,
            format_args!(
                "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\"><title>{}, second {second}: {} {unit}</title></circle>",
                escape(series.name),
                thousands_or_exact(*value)
            ),
        );
    }
}

fn joined(points: &[(f64, f64)]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    points.join(" ")
}

fn open(label: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(label)
    )
}

fn close(mut out: String) -> String {
    out.push_str("</svg>");
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("a string takes all that is written into it");
}

/// Text that can't be taken for HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A count as people read it.
pub(super) fn count(count: u64) -> String {
    if count < 100 {
        count.to_string()
    } else {
        thousands(crate::number::float(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_something_round_above_the_most() {
        for (most, top) in [
            (0.0, 1.0),
            (7.3, 8.0),
            (1_234.0, 1_500.0),
            (0.03, 0.03),
            (98.0, 100.0),
        ] {
            let scale = Scale::new(most);
            assert!((scale.top - top).abs() < 1e-9, "{most}: {}", scale.top);
        }
    }

    #[test]
    fn charts_of_nothing_are_drawn() {
        for chart in [
            lines("x", "ms", &[]),
            layers("x", "ms", &[]),
            distribution("x", &[], &[("p50", 1.0)]),
        ] {
            assert!(chart.starts_with("<svg") && chart.ends_with("</svg>"), "{chart}");
            assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
        }
    }
}
