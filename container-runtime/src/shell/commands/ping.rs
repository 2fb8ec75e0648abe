//! `ping`: is an address there?
//!
//! The pod network carries TCP and UDP, not ICMP. An address that accepts *or refuses* a TCP
//! connection is there, as one that answers an echo request is; one that a policy silences times out
//! and one that nobody has is unreachable: the same three answers, and the times are real.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::network::hint;
use super::{Outcome, fail, getopt};
use crate::program::ContainerContext;

/// The echo service, which nothing in a cluster listens on.
const PORT: u16 = 7;

pub(super) async fn ping(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "c:W:w:i:q4n", &[]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let Some(name) = parsed.operands.first() else {
        return fail(&context, 1, "ping: usage: ping [-c COUNT] [-W SEC] HOST").await;
    };
    let address = match context.network.resolve(name).await {
        Ok(addresses) if !addresses.is_empty() => addresses[0],
        Ok(_) => return fail(&context, 1, format!("ping: bad address '{name}'")).await,
        Err(error) => {
            let hint = hint(&error);
            return fail(&context, 1, format!("ping: bad address '{name}'{hint}")).await;
        }
    };
    let number = |option| parsed.value(option).and_then(|value| value.parse::<f64>().ok());
    let seconds = |option, default: f64| {
        Duration::try_from_secs_f64(number(option).unwrap_or(default))
            .unwrap_or(Duration::from_secs(1))
    };
    let count = parsed.value('c').and_then(|value| value.parse::<u32>().ok());
    let (wait, interval) = (seconds('W', 10.0), seconds('i', 1.0));
    let deadline = parsed.has('w').then(|| context.clock.monotonic() + seconds('w', 10.0));
    context.stdout.write_all(format!("PING {name} ({address}): 56 data bytes\n")).await?;
    let (mut sent, mut times) = (0, Vec::new());
    loop {
        let started = context.clock.monotonic();
        let connect = context.network.connect_tcp(SocketAddr::new(address, PORT));
        let answer = context.clock.timeout(wait, connect).await;
        let elapsed = context.clock.monotonic().saturating_sub(started);
        let answered = match answer {
            Ok(Ok(_)) => true,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => true,
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => false,
            Ok(Err(error)) => {
                let line = format!("ping: sendto: {}", super::io_text(&error));
                return fail(&context, 1, line).await;
            }
            Err(_) => false,
        };
        if answered {
            let time = elapsed.as_secs_f64() * 1000.0;
            times.push(time);
            if !parsed.has('q') {
                let line =
                    format!("64 bytes from {address}: seq={sent} ttl=64 time={time:.3} ms\n");
                context.stdout.write_all(line).await?;
            }
        }
        sent += 1;
        let over = deadline.is_some_and(|deadline| context.clock.monotonic() >= deadline);
        if count.is_some_and(|count| sent >= count) || over {
            break;
        }
        context.clock.sleep(interval.saturating_sub(elapsed)).await;
    }
    let received = u32::try_from(times.len()).unwrap_or(sent);
    let loss = 100 - 100 * received / sent;
    let mut text = format!(
        "\n--- {name} ping statistics ---\n{sent} packets transmitted, {received} packets received, {loss}% packet loss\n"
    );
    if !times.is_empty() {
        let low = times.iter().copied().fold(f64::INFINITY, f64::min);
        let high = times.iter().copied().fold(0.0, f64::max);
        let mean = times.iter().sum::<f64>() / f64::from(received);
        text.push_str(&format!("round-trip min/avg/max = {low:.3}/{mean:.3}/{high:.3} ms\n"));
    }
    context.stdout.write_all(text).await?;
    Ok(i32::from(received == 0))
}
