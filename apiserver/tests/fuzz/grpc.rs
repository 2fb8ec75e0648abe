//! The same by gRPC.

use std::path::Path;

use client::wire::from_tonic;
use component_base::transport::{Endpoint, channel};
use futures::StreamExt;
use proto::v1::{
    CreateRequest, DeleteRequest, GetRequest, ListRequest, PatchRequest, ResourceRef,
    UpdateRequest, WatchRequest, resources_client::ResourcesClient,
};
use serde_json::Value;
use tonic::transport::Channel;

use super::{
    corpus::KINDS,
    grammar,
    mutate::{TEXTS, change, scramble},
    random::Random,
};

pub(crate) struct Caller(ResourcesClient<Channel>);

impl Caller {
    pub(crate) fn new(socket: &Path) -> Self {
        let endpoint = Endpoint::Unix { path: socket.to_owned() };
        Self(ResourcesClient::new(channel(&endpoint)).max_decoding_message_size(64 << 20))
    }

    /// A call, and that its refusal is one.
    pub(crate) async fn call(&mut self, random: &mut Random) {
        let kind = random.pick(KINDS);
        let mut object: Value = serde_json::from_str(kind.object).unwrap();
        let target = Some(target(random, kind.collection));
        change(random, &mut object);
        let mut body = object.to_string().into_bytes();
        if random.one_in(3) {
            scramble(random, &mut body);
        }
        let client = &mut self.0;
        let text = (random.pick(TEXTS)).to_owned();
        // A revision that is to come is waited for, seconds long.
        let version = random.pick(&["", "0", "x", "-1", "18446744073709551616"]).to_owned();
        let answer = match random.below(7) {
            0 => client
                .create(CreateRequest { target, object: body.into(), ..CreateRequest::default() })
                .await
                .map(drop),
            1 => client
                .update(UpdateRequest { target, object: body.into(), ..UpdateRequest::default() })
                .await
                .map(drop),
            2 => {
                let mut patch = body;
                let r#type = random.below(7) as i32 - 1;
                if r#type == 1 {
                    patch = grammar::json_patch(random, &object).to_string().into_bytes();
                }
                client
                    .patch(PatchRequest {
                        target,
                        r#type,
                        patch: patch.into(),
                        ..PatchRequest::default()
                    })
                    .await
                    .map(drop)
            }
            3 => client
                .get(GetRequest { target, resource_version: version, ..GetRequest::default() })
                .await
                .map(drop),
            4 => {
                client.delete(DeleteRequest { target, ..DeleteRequest::default() }).await.map(drop)
            }
            5 => {
                let output = random.below(9) as i32 - 2;
                let request =
                    ListRequest { target, output, include_object: text, ..ListRequest::default() };
                match client.list(request).await {
                    Ok(mut chunks) => {
                        while let Some(chunk) = chunks.get_mut().next().await {
                            chunk.expect("a list goes on to its end");
                        }
                        Ok(())
                    }
                    Err(status) => Err(status),
                }
            }
            _ => {
                let request = WatchRequest { target, ..WatchRequest::default() };
                client.watch(request).await.map(drop)
            }
        };
        if let Err(status) = answer {
            let status = from_tonic(&status);
            assert!(
                (400..500).contains(&status.code),
                "{status:?} for {kind}",
                kind = kind.collection
            );
            assert!(!status.message.is_empty(), "{status:?}");
        }
    }
}

/// Where the collection of a path is, by gRPC; sometimes elsewhere.
fn target(random: &mut Random, path: &str) -> ResourceRef {
    let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => ("", "", &[][..]),
    };
    let namespace = if rest.len() > 2 { rest[1] } else { "" };
    let mut target = ResourceRef {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: rest.last().copied().unwrap_or("").to_owned(),
        namespace: namespace.to_owned(),
        name: if random.one_in(2) { "a".to_owned() } else { String::new() },
        ..ResourceRef::default()
    };
    if random.one_in(4) {
        let text = (random.pick(TEXTS)).to_owned();
        match random.below(5) {
            0 => target.name = text,
            1 => target.namespace = text,
            2 => target.subresource = text,
            3 => target.version = text,
            _ => target.resource = text,
        }
    }
    if random.one_in(6) {
        let subresources =
            ["status", "scale", "eviction", "binding", "token", "log", "ephemeralcontainers"];
        target.subresource = (random.pick(&subresources)).to_owned();
    }
    target
}
