//! Log lines on standard error, one per event.
//!
//! Levels follow klog's `-v`: 0 to 3 shows what an operator should know, 4 and 5 add each decision (DEBUG), 6 and above
//! everything (TRACE). The libraries under us stay at warnings until 6: their debug output drowns ours.

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt, util::TryInitError,
};

/// Libraries whose chatter is not about the cluster.
const QUIET: [&str; 7] = ["h2", "hyper", "hyper_util", "rustls", "tonic", "tower", "sled"];

/// Installs the process's log output. `component` stands in every line, since a launcher may show several processes
/// together.
///
/// # Errors
/// When a subscriber is already installed.
pub fn init(component: &'static str, verbosity: u8) -> Result<(), TryInitError> {
    tracing_subscriber::registry()
        .with(targets(verbosity))
        .with(
            fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .event_format(ComponentFormat { component, inner: fmt::format().with_ansi(false) }),
        )
        .try_init()
}

fn targets(verbosity: u8) -> Targets {
    let level = match verbosity {
        0..=3 => Level::INFO,
        4 | 5 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let libraries = if level == Level::TRACE { LevelFilter::DEBUG } else { LevelFilter::WARN };
    Targets::new().with_default(level).with_targets(QUIET.map(|target| (target, libraries)))
}

/// tracing's full format with the component's name before it.
struct ComponentFormat {
    component: &'static str,
    inner: fmt::format::Format,
}

impl<S, N> fmt::FormatEvent<S, N> for ComponentFormat
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    N: for<'a> fmt::FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &fmt::FmtContext<'_, S, N>,
        mut writer: fmt::format::Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        write!(writer, "{} ", self.component)?;
        self.inner.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    #[test]
    fn verbosity_is_klogs() {
        let check = |verbosity, target: &str, level, expected| {
            let shown = super::targets(verbosity).would_enable(target, &level);
            assert_eq!(shown, expected, "-v={verbosity} {target} {level}");
        };
        check(0, "apiserver", Level::INFO, true);
        check(3, "apiserver", Level::DEBUG, false);
        check(4, "apiserver", Level::DEBUG, true);
        check(5, "apiserver", Level::TRACE, false);
        check(6, "apiserver", Level::TRACE, true);
        check(0, "h2::proto", Level::WARN, true);
        check(4, "h2::proto", Level::INFO, false);
        check(6, "hyper", Level::DEBUG, true);
    }
}
