//! `auth whoami`.

use apimachinery::{object::Object, resource::SELF_SUBJECT_REVIEWS};
use serde_json::Value;

use super::review;
use crate::{
    changing::{DryRun, Reporter},
    cli::Command,
    context::Context,
    errors::CommandError,
    printers::{Formats, Layout, OutputFlags, go_value},
};

/// Shows who the server takes one for.
#[derive(clap::Args, Clone, Debug)]
pub struct WhoAmI {
    /// None.
    pub arguments: Vec<String>,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl Command for WhoAmI {
    const NAME: &'static str = "whoami";
    const ABOUT: &'static str = "Experimental: Check self subject attributes";
    const USAGE: &'static str = "whoami";
    const EXAMPLES: &'static str = "# Who does the server take me for?
kubectl-mini auth whoami";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !self.arguments.is_empty() {
            let words = self.arguments.join(" ");
            return Err(CommandError::message(format!(
                "unknown command {} for \"{} auth whoami\"",
                apimachinery::field::go_quote(&words),
                crate::PROGRAM
            )));
        }
        let printer = self.output.printer(Formats::Common)?;
        let review = review(context, &SELF_SUBJECT_REVIEWS, Value::Null).await?;
        match printer {
            Some(_) => Reporter::typed(&self.output, DryRun::None)?.report(context, &review, ""),
            None => context.print(&attributes(&review)),
        }
    }
}

fn attributes(review: &Object) -> String {
    let user = review.get(&["status", "userInfo"]).cloned().unwrap_or_default();
    let mut layout = Layout::default();
    let mut row = |name: &str, value: String| layout.row(vec![name.to_owned(), value]);
    row("ATTRIBUTE", "VALUE".to_owned());
    let text = |key: &str| user[key].as_str().filter(|text| !text.is_empty());
    if let Some(name) = text("username") {
        row("Username", name.to_owned());
    }
    if let Some(uid) = text("uid") {
        row("UID", uid.to_owned());
    }
    if let Some(groups) = user.get("groups").filter(|groups| groups.is_array()) {
        row("Groups", go_value::plain(groups));
    }
    for (key, values) in user["extra"].as_object().into_iter().flatten() {
        row(&format!("Extra: {key}"), go_value::plain(values));
    }
    layout.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_user_is_a_table() {
        let review = json!({ "kind": "SelfSubjectReview", "status": { "userInfo": {
            "username": "admin", "groups": ["system:masters", "x"], "extra": { "k": ["v"] },
        } } });
        assert_eq!(
            attributes(&Object::from_value(review).unwrap()),
            "ATTRIBUTE   VALUE\nUsername    admin\nGroups      [system:masters x]\nExtra: k    [v]\n"
        );
    }
}
