//! `kube-mini status`: the cluster's processes.

use super::{ClusterArgs, not_running};
use crate::{
    output::line,
    paths::Environment,
    supervisor::control::{Request, ask},
};

pub(super) async fn run(args: &ClusterArgs, environment: &Environment) -> anyhow::Result<()> {
    let (paths, config) = args.existing(environment)?;
    let reply = match ask(&paths.control_socket(), Request::Status).await {
        Ok(reply) => reply,
        Err(e) if not_running(&e) => {
            anyhow::bail!(
                "cluster {:?} is stopped: `kube-mini up{}` brings it back",
                config.name,
                args.flag()
            )
        }
        Err(e) => return Err(e.into()),
    };
    line(&format!(
        "Cluster {:?}: https://127.0.0.1:{}, {} nodes",
        config.name, config.api_port, config.nodes
    ));
    line(&format!("{:<26} {:>8} {:>9}  {}", "COMPONENT", "PID", "RESTARTS", "LAST EXIT"));
    line(&format!("{:<26} {:>8} {:>9}", "supervisor", reply.pid, 0));
    for (name, status) in reply.components {
        let pid = status.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let mut last = status.last_exit.unwrap_or_default();
        if let Some(pause) = status.pause {
            last.push_str(&format!("; starts again after {pause:?}"));
        }
        let row = format!("{name:<26} {pid:>8} {:>9}  {last}", status.restarts);
        line(row.trim_end());
    }
    Ok(())
}
