//! `TestCluster`: a whole kube-mini cluster for the length of a test.
//!
//! ```no_run
//! use tests::TestCluster;
//!
//! # async fn example() -> anyhow::Result<()> {
//! let cluster = TestCluster::builder().nodes(3).start().await?;
//! cluster.apply(include_str!("../../examples/documents/web-deployment.yaml")).await?;
//! cluster.apply(include_str!("../../examples/documents/web-nodeport.yaml")).await?;
//! cluster.wait_ready("web-deployment").await;
//!
//! let url = cluster.node_port_url("web-nodeport").await?;
//! let page = cluster.eventually("nginx answers", async || tests::http::get(&url).await).await;
//! assert!(page.body.contains("Welcome to nginx!"));
//! # Ok(())
//! # }
//! ```
//!
//! # Two runners
//! | | [`Runner::InProcess`] | [`Runner::Process`] |
//! |---|---|---|
//! | the components are | libraries on a runtime of the cluster's own | the real programs, one process each |
//! | starts in | about 0.2 s | about 0.5 s |
//! | clients reach the API | through memory, with any identity | over TLS, with a certificate made for it |
//! | storage | memory, or sled ([`Builder::durable`]) | sled |
//! | own Programs as images | [`Builder::register_image`] | no |
//! | virtual time | [`Builder::clock`] | no |
//! | `kill -9` | no | [`TestCluster::kill`] |
//! | a node fails and comes back | [`TestCluster::fail_node`], [`TestCluster::start_node`] | the same, by `kill -9` |
//! | a node shuts down in order | [`TestCluster::shut_down_node`], within [`Builder::shutdown_grace_periods`] | the same, by SIGTERM |
//! | a second scheduler, say | no | [`TestCluster::start_copy`] |
//!
//! The same test body runs on both. Clusters never meet: each has its own folder below `/tmp`, its own API port and its
//! own slice of 127/8, so that dozens run side by side, in one process too. Pods cannot reach the world unless
//! [`Builder::allow_egress`] says so.
//!
//! # Waiting
//! Nothing here sleeps and hopes. [`eventually`] asks again and again until what it asks for holds, and after its time
//! panics with the last answer; [`TestCluster::wait_for`] and its kin ask about objects.
//!
//! # Virtual time
//! Hours pass in moments, and the test decides when:
//! ```no_run
//! use std::time::Duration;
//!
//! use component_base::clock::Clock;
//! use tests::TestCluster;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let (clock, time) = Clock::test("2026-01-01T00:00:00Z".parse()?);
//! let cluster = time.run(TestCluster::builder().nodes(2).clock(clock).start()).await?;
//! time.run(cluster.fail_node(2)).await?;
//! time.advance(Duration::from_secs(60)).await; // the node is given up now
//! # Ok(())
//! # }
//! ```
//! Whatever waits for the cluster goes through `time.run`, which lets time leap until it is done.
//!
//! # The end
//! Dropping the cluster ends everything that it started, also while a test panics: components, sockets, folders.
//! [`TestCluster::shutdown`] does the same and returns what went wrong on the way.
//!
//! | module | holds |
//! |---|---|
//! | [`cluster`], [`builder`] | what a test uses |
//! | `in_process`, `processes` | the two runners |
//! | [`exec`] | commands in pods, and their logs |
//! | [`wait`], [`http`] | waiting; a request from the host |

pub mod builder;
pub mod cluster;
pub mod exec;
pub mod http;
mod in_process;
mod processes;
pub mod wait;

pub use self::{
    builder::{Builder, Runner},
    cluster::{Component, TestCluster},
    exec::{ExecRequest, ExecResult},
    processes::ComponentCopy,
    wait::eventually,
};
