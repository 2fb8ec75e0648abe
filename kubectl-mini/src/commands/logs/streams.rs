//! Reading logs: one after the other, or all together, line by line.

use std::pin::pin;

use client::wire;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use proto::v1::LogsRequest;

use crate::{context::Context, errors::CommandError};

/// One container's log.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) request: LogsRequest,
    /// Before each line.
    pub(super) prefix: String,
}

/// Prints one log after the other.
pub(super) async fn in_turn(
    context: &Context,
    sources: Vec<Source>,
    ignore_errors: bool,
) -> Result<(), CommandError> {
    for source in sources {
        let mut lines = pin!(lines(context, source));
        while let Some(line) = lines.next().await {
            match line {
                Ok(line) => context.print_bytes(&line)?,
                Err(error) if ignore_errors => context.print(&format!("error: {error}\n"))?,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Prints the lines of all logs as they come.
pub(super) async fn together(
    context: &Context,
    sources: Vec<Source>,
    ignore_errors: bool,
) -> Result<(), CommandError> {
    let lines = sources.into_iter().map(|source| lines(context, source).boxed_local());
    let mut lines = stream::select_all(lines);
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => context.print_bytes(&line)?,
            Err(error) if ignore_errors => context.print(&format!("error: {error}\n"))?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The lines of one log; the last may be without its end.
fn lines(context: &Context, source: Source) -> impl Stream<Item = Result<Vec<u8>, CommandError>> {
    let Source { request, prefix } = source;
    let open = async move {
        let mut client = context.client()?.streams();
        let chunks = context
            .request(async {
                client.logs(request).await.map_err(|status| wire::from_tonic(&status))
            })
            .await?
            .into_inner();
        let chunks = chunks
            .map_ok(|chunk| chunk.data.to_vec())
            .map_err(|status| CommandError::from(wire::from_tonic(&status)));
        Ok::<_, CommandError>(split(chunks, prefix))
    };
    stream::once(open).try_flatten()
}

/// Cuts chunks into lines.
fn split(
    chunks: impl Stream<Item = Result<Vec<u8>, CommandError>>,
    prefix: String,
) -> impl Stream<Item = Result<Vec<u8>, CommandError>> {
    let end = stream::once(async { Ok(None) });
    let chunks = chunks.map_ok(Some).chain(end);
    let mut buffer = Vec::new();
    chunks
        .map_ok(move |chunk| {
            let lines = match chunk {
                Some(chunk) => complete_lines(&mut buffer, chunk),
                None => std::mem::take(&mut buffer),
            };
            prefixed(&lines, prefix.as_bytes())
        })
        .try_filter(|lines| std::future::ready(!lines.is_empty()))
}

/// Takes the whole lines of what was left over and what came.
fn complete_lines(buffer: &mut Vec<u8>, chunk: Vec<u8>) -> Vec<u8> {
    buffer.extend(chunk);
    let end = buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let rest = buffer.split_off(end);
    std::mem::replace(buffer, rest)
}

fn prefixed(lines: &[u8], prefix: &[u8]) -> Vec<u8> {
    if prefix.is_empty() {
        return lines.to_vec();
    }
    lines.split_inclusive(|byte| *byte == b'\n').flat_map(|line| [prefix, line].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_stay_whole() {
        async fn check(chunks: &[&str], prefix: &str, expected: &[&str]) {
            let chunks: Vec<Result<Vec<u8>, CommandError>> =
                chunks.iter().map(|chunk| Ok(chunk.as_bytes().to_vec())).collect();
            let lines = split(stream::iter(chunks), prefix.to_owned());
            let lines: Vec<String> =
                lines.map(|line| String::from_utf8(line.unwrap()).unwrap()).collect().await;
            assert_eq!(lines, expected);
        }
        check(&["a\nb", "c\nd"], "", &["a\n", "bc\n", "d"]).await;
        check(&["a\nb\n"], "[p] ", &["[p] a\n[p] b\n"]).await;
        check(&[], "[p] ", &[]).await;
    }
}
