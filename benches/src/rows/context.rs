//! What the machine is.

use std::{fs::File, os::unix::fs::FileExt, time::Duration};

use crate::{
    report::{Bound, Report},
    world::Lab,
};

pub(super) fn run(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("The machine");
    let cores = std::thread::available_parallelism()?.get();
    report.row("cores", cores as f64, "", Bound::None);
    report.row(
        "fdatasync after 4 KiB appended, one thread",
        fdatasync_rate(lab)?,
        "per s",
        Bound::None,
    );
    Ok(())
}

/// How often a second's worth of small appends can be made durable.
pub(super) fn fdatasync_rate(lab: &Lab) -> anyhow::Result<f64> {
    let dir = lab.temp()?;
    let file = File::create(dir.path().join("log"))?;
    let block = [7; 4096];
    let begun = lab.clock.monotonic();
    let mut count = 0_u32;
    loop {
        file.write_all_at(&block, u64::from(count) * 4096)?;
        file.sync_data()?;
        count += 1;
        let took = lab.clock.monotonic().saturating_sub(begun);
        if took >= Duration::from_secs(1) {
            return Ok(f64::from(count) / took.as_secs_f64());
        }
    }
}
