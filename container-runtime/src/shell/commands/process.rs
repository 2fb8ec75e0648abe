//! `sleep`, `true`, `false`.

use std::time::Duration;

use super::Outcome;
use crate::program::ContainerContext;

pub(super) async fn true_(_: ContainerContext) -> Outcome {
    Ok(0)
}

pub(super) async fn false_(_: ContainerContext) -> Outcome {
    Ok(1)
}

pub(super) async fn sleep(context: ContainerContext) -> Outcome {
    let mut total = Duration::ZERO;
    for word in &context.args[1..] {
        let Some(part) = duration(word) else {
            let line = format!("sleep: invalid number '{word}'\n");
            context.stderr.write_all(line).await?;
            return Ok(1);
        };
        total = total.saturating_add(part);
    }
    if context.args.len() < 2 {
        context.stderr.write_all("sleep: missing operand\n").await?;
        return Ok(1);
    }
    tokio::select! {
        () = context.clock.sleep(total) => Ok(0),
        () = context.signals.terminated() => Ok(143),
        () = context.signals.interrupted() => Ok(130),
    }
}

/// `5`, `0.5`, `2m`, `inf`.
pub(super) fn duration(word: &str) -> Option<Duration> {
    const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
    if matches!(word, "inf" | "infinity") {
        return Some(FOREVER);
    }
    let (number, unit) = match word.chars().last()? {
        's' => (&word[..word.len() - 1], 1.0),
        'm' => (&word[..word.len() - 1], 60.0),
        'h' => (&word[..word.len() - 1], 3600.0),
        'd' => (&word[..word.len() - 1], 86400.0),
        _ => (word, 1.0),
    };
    let seconds: f64 = number.parse().ok()?;
    let duration = Duration::try_from_secs_f64(seconds * unit).ok()?;
    Some(duration.min(FOREVER))
}
