//! A server in a pod, asked from another pod through the DNS Service.

use std::{io, net::SocketAddr, time::Duration};

use cni::network::{PodStream, Sandbox};
use hickory_proto::{
    op::{Edns, Message, OpCode, ResponseCode},
    rr::{DNSClass, RData, Record, RecordType},
};
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Limits;
use crate::{
    exchange::exchange,
    testing::{LONG, World, pod, query, some_records},
};

const WEB: &str = "web.default.svc.cluster.local.";
const MANY: &str = "many.default.svc.cluster.local.";
const OUTSIDE: &str = "outside.default.svc.cluster.local.";

/// Sends bytes in a datagram and waits for what comes back.
async fn datagram(world: &World, to: SocketAddr, bytes: &[u8]) -> Option<Message> {
    let socket = world.client.bind_udp((world.client.ip(), 0).into()).await.unwrap();
    socket.connect(to).unwrap();
    socket.send(bytes).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let count = world.clock.timeout(LONG, socket.recv(&mut buffer)).await.unwrap().ok()?;
    Some(Message::from_vec(&buffer[..count]).unwrap())
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

async fn read_answer(stream: &mut PodStream) -> io::Result<Message> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(Message::from_vec(&bytes).unwrap())
}

fn addresses(message: &Message) -> usize {
    message.answers.iter().filter(|record| matches!(record.data, RData::A(_))).count()
}

#[tokio::test]
async fn answers_datagrams() {
    let world = World::new().await;
    world.serve(some_records(), vec![]).await;
    let dns = world.dns();
    let asked = query(WEB, RecordType::A);
    let answer = datagram(&world, dns, &asked.to_vec().unwrap()).await.unwrap();
    assert_eq!((answer.metadata.id, addresses(&answer)), (4711, 1));
    assert!(answer.metadata.authoritative && answer.metadata.recursion_desired);
    assert!(!answer.metadata.recursion_available && answer.edns.is_none());
    assert_eq!(answer.queries, asked.queries);

    let code = async |change: fn(&mut Message)| {
        let mut message = query(WEB, RecordType::A);
        change(&mut message);
        let answer = datagram(&world, dns, &message.to_vec().unwrap()).await.unwrap();
        answer.metadata.response_code
    };
    let name = |name: &str| hickory_proto::rr::Name::from_ascii(name).unwrap();
    assert_eq!(code(|m| m.queries[0].query_class = DNSClass::CH).await, ResponseCode::Refused);
    assert_eq!(code(|m| m.queries[0].query_type = RecordType::AXFR).await, ResponseCode::Refused);
    assert_eq!(code(|m| m.metadata.op_code = OpCode::Update).await, ResponseCode::NotImp);
    assert_eq!(code(|m| m.queries.clear()).await, ResponseCode::FormErr);
    let version = |m: &mut Message| {
        let mut edns = Edns::new();
        edns.set_version(1);
        m.set_edns(edns);
    };
    // hickory reads BADVERS as its twin of the same number, BADSIG.
    assert_eq!(u16::from(code(version).await), u16::from(ResponseCode::BADVERS));
    let mut other = query(WEB, RecordType::A);
    other.queries[0].name = name("example.com.");
    let answer = datagram(&world, dns, &other.to_vec().unwrap()).await.unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    assert!(!answer.metadata.authoritative && answer.authorities.is_empty());
}

#[tokio::test]
async fn cuts_long_answers_and_gives_them_whole_on_a_connection() {
    let world = World::new().await;
    world.serve(some_records(), vec![]).await;
    let check = async |payload: Option<u16>, expected: (usize, bool)| {
        let mut asked = query(MANY, RecordType::A);
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            asked.set_edns(edns);
        }
        let answer = datagram(&world, world.dns(), &asked.to_vec().unwrap()).await.unwrap();
        assert_eq!((addresses(&answer), answer.metadata.truncation), expected, "{payload:?}");
    };
    check(None, (29, true)).await;
    check(Some(1232), (73, true)).await;
    check(Some(4096), (252, true)).await;
    let asked = query(MANY, RecordType::A);
    let whole = exchange(&world.client, &world.clock, world.dns(), asked, LONG).await.unwrap();
    assert_eq!((addresses(&whole), whole.metadata.truncation), (300, false));
}

#[tokio::test]
async fn begins_with_another_address_each_time() {
    let world = World::new().await;
    world.serve(some_records(), vec![]).await;
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let asked = query(MANY, RecordType::A).to_vec().unwrap();
        let answer = datagram(&world, world.dns(), &asked).await.unwrap();
        firsts.insert(answer.answers[0].data.to_string());
    }
    assert_eq!(firsts.len(), 8);
}

#[tokio::test]
async fn answers_many_questions_of_one_connection() {
    let world = World::new().await;
    world.serve(some_records(), vec![]).await;
    let mut stream = world.client.connect_tcp(world.dns()).await.unwrap();
    let mut bytes = Vec::new();
    for id in 0..500 {
        let mut asked = query(WEB, RecordType::A);
        asked.metadata.id = id;
        bytes.extend(framed(&asked.to_vec().unwrap()));
    }
    // In pieces that respect no message.
    for piece in bytes.chunks(1001) {
        stream.write_all(piece).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    for id in 0..500 {
        let answer = read_answer(&mut stream).await.unwrap();
        assert_eq!((answer.metadata.id, addresses(&answer)), (id, 1));
    }
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn slow_and_silent_connections_end_and_surplus_ones_are_closed() {
    let world = World::new().await;
    let short = Duration::from_millis(200);
    let limits = Limits { idle: short, progress: short, connections: 3, ..Limits::default() };
    world.serve_on(&world.server, some_records(), vec![], limits).await;
    let ended = async |mut stream: PodStream, what: &str| {
        let read = world.clock.timeout(LONG, stream.read(&mut [0; 64])).await;
        assert!(matches!(read, Ok(Ok(0) | Err(_))), "{what}: {read:?}");
    };
    let connect = async || world.client.connect_tcp(world.dns()).await.unwrap();
    let silent = connect().await;
    let mut half = connect().await;
    half.write_all(&[0, 40, 1, 2, 3]).await.unwrap();
    let third = connect().await;
    ended(connect().await, "one too many").await;
    ended(silent, "silent").await;
    ended(half, "half a question").await;
    ended(third, "silent too").await;
    // Another one gets through: the places are free again.
    let asked = framed(&query(WEB, RecordType::A).to_vec().unwrap());
    let mut stream = connect().await;
    stream.write_all(&asked).await.unwrap();
    assert_eq!(addresses(&read_answer(&mut stream).await.unwrap()), 1);
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let world = World::new().await;
    world.serve(some_records(), vec![]).await;
    let socket = world.client.bind_udp((world.client.ip(), 0).into()).await.unwrap();
    let mut runner = TestRunner::new(Config::with_cases(1));
    let mut garbage = Vec::new();
    let bytes = proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200);
    for _ in 0..300 {
        let tree = proptest::strategy::Strategy::new_tree(&bytes, &mut runner).unwrap();
        garbage.push(proptest::strategy::ValueTree::current(&tree));
    }
    let mut stream = world.client.connect_tcp(world.dns()).await.unwrap();
    for bytes in &garbage {
        socket.send_to(bytes, world.dns()).await.unwrap();
        // Its answers are not read: it may be cut off.
        let _ = stream.write_all(&framed(bytes)).await;
    }
    drop(stream);
    // No datagram was due, or it was lost in the flood: ask until there is an answer.
    let answered = async {
        let asked = query(WEB, RecordType::A);
        let patience = Duration::from_secs(1);
        while exchange(&world.client, &world.clock, world.dns(), asked.clone(), patience)
            .await
            .is_err()
        {}
    };
    world.clock.timeout(LONG, answered).await.unwrap();
}

#[tokio::test]
async fn other_zones_are_asked_upstream() {
    let world = World::new().await;
    // The upstream server is a DNS of another cluster: it knows its own aliases, and refuses the rest.
    let upstream = pod(&world.nodes[0], "upstream");
    let other = some_upstream(&world, &upstream);
    world.spawn(other.await);
    let nobody: SocketAddr = (world.client.ip(), 53).into();
    world.serve(some_records(), vec![nobody, (upstream.ip(), 53).into()]).await;

    let ask = async |name: &str| {
        let asked = query(name, RecordType::A);
        exchange(&world.client, &world.clock, world.dns(), asked, LONG).await.unwrap()
    };
    let answer = ask("www.example.com.").await;
    assert_eq!((addresses(&answer), answer.metadata.authoritative), (1, false));
    assert!(answer.metadata.recursion_available);
    let answer = ask(OUTSIDE).await;
    let kinds: Vec<_> = answer.answers.iter().map(Record::record_type).collect();
    assert_eq!(kinds, [RecordType::CNAME, RecordType::A]);
    assert!(answer.metadata.authoritative);

    // And on a connection, behind which nobody has to wait.
    let mut stream = world.client.connect_tcp(world.dns()).await.unwrap();
    let outside = framed(&query("www.example.com.", RecordType::A).to_vec().unwrap());
    let mut inside = query(WEB, RecordType::A);
    inside.metadata.id = 1;
    let inside = framed(&inside.to_vec().unwrap());
    stream.write_all(&[outside, inside].concat()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(read_answer(&mut stream).await.unwrap().metadata.id);
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 4711]);
}

/// Answers every question with one address.
async fn some_upstream(world: &World, sandbox: &Sandbox) -> impl Future<Output = ()> + use<> {
    use hickory_proto::rr::rdata::A;
    let socket = sandbox.bind_udp((sandbox.ip(), 53).into()).await.unwrap();
    let _ = world;
    async move {
        let mut buffer = [0; 4096];
        while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..count]).unwrap();
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            answer.queries = asked.queries;
            let name = answer.queries[0].name.clone();
            answer.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_a_failure() {
    let world = World::new().await;
    let nobody: SocketAddr = (world.client.ip(), 5353).into();
    world.serve(some_records(), vec![nobody]).await;
    let asked = query("www.example.com.", RecordType::A);
    let answer = exchange(&world.client, &world.clock, world.dns(), asked, LONG).await.unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(!answer.metadata.authoritative);
}

#[tokio::test]
async fn ends_with_the_network() {
    let world = World::new().await;
    let config = super::ServerConfig {
        records: some_records(),
        clock: world.clock.clone(),
        upstreams: vec![],
        limits: Limits::default(),
        metrics: crate::metrics::Metrics::new(&component_base::metrics::Registry::new()),
    };
    let server = super::Server::bind(config, &world.server).await.unwrap();
    let running = world.spawn(server.run());
    world.fabric.stop().await;
    world.clock.timeout(LONG, running).await.unwrap().unwrap();
}
