//! `kubectl get`.

mod print;
mod raw;
mod watch;

use apimachinery::resource::ResourceInfo;

use crate::{
    PROGRAM,
    cli::{Command, values::parse_i64},
    context::Context,
    errors::CommandError,
    printers::{Formats, OutputFlags, Printer, table::TableOptions},
    resources::{FileFlags, Selection, Target},
};

/// Prints one or many objects.
#[derive(clap::Args, Clone, Debug)]
pub struct Get {
    /// The types, and names.
    pub arguments: Vec<String>,
    /// Which files name the objects.
    #[command(flatten)]
    pub files: FileFlags,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// If present, list the requested object(s) across all namespaces. Namespace in current context is ignored even if
    /// specified with --namespace.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Return large lists in chunks rather than all at once. Pass 0 to disable.
    #[arg(long, default_value = "500", value_parser = parse_i64)]
    pub chunk_size: i64,
    /// Selector (field query) to filter on, supports '=', '==', and '!='.(e.g. --field-selector
    /// key1=value1,key2=value2). The server only supports a limited number of field queries per type.
    #[arg(long)]
    pub field_selector: Option<String>,
    /// If the requested object does not exist the command will return exit code 0.
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Accepts a comma separated list of labels that are going to be presented as columns. Names are case-sensitive.
    /// You can also use multiple flag options like -L label1 -L label2...
    #[arg(long, short = 'L', value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// When using the default or custom-column output format, don't print headers (default print headers).
    #[arg(long)]
    pub no_headers: bool,
    /// Output watch event objects when --watch or --watch-only is used. Existing objects are output as initial ADDED
    /// events.
    #[arg(long)]
    pub output_watch_events: bool,
    /// Print what stands at this path of the API.
    #[arg(long, default_value = "")]
    pub raw: String,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.(e.g. -l
    /// key1=value1,key2=value2,key3 in (value3)). Matching objects must satisfy all of the specified label constraints.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
    /// If true, have the server return the appropriate table output.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true)]
    pub server_print: bool,
    /// If present, list the resource type for the requested object(s).
    #[arg(long)]
    pub show_kind: bool,
    /// When printing, show all labels as the last column (default hide labels column)
    #[arg(long)]
    pub show_labels: bool,
    /// If non-empty, sort list types using this field specification.  The field specification is expressed as a
    /// JSONPath expression (e.g. '{.metadata.name}'). The field in the API resource specified by this JSONPath
    /// expression must be an integer or a string.
    #[arg(long)]
    pub sort_by: Option<String>,
    /// If specified, gets the subresource of the requested object.
    #[arg(long, default_value = "")]
    pub subresource: String,
    /// After listing/getting the requested object, watch for changes.
    #[arg(long, short = 'w')]
    pub watch: bool,
    /// Watch for changes to the requested object(s), without listing/getting first.
    #[arg(long)]
    pub watch_only: bool,
}

/// In which form objects are printed.
enum Form {
    /// The server's tables; `true`: wide ones.
    Table(bool),
    /// A format.
    Objects(Printer),
}

impl Command for Get {
    const NAME: &'static str = "get";
    const ABOUT: &'static str = "Display one or many resources";
    const USAGE: &'static str = "get [(-o|--output=)json|yaml|name|jsonpath|jsonpath-as-json|jsonpath-file|custom-columns|custom-columns-file|wide] (TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE[.VERSION][.GROUP]/NAME ...) [flags]";
    const HELP: &'static str = "Display one or many resources.

 Prints a table of the most important information about the specified resources. You can filter the list using a label selector and the --selector flag. If the desired resource type is namespaced you will only see results in the current namespace if you don't specify any namespace.

Use \"kubectl-mini api-resources\" for a complete list of supported resources.";
    const EXAMPLES: &'static str = "# List all pods in ps output format
kubectl-mini get pods

# List all pods in ps output format with more information (such as node name)
kubectl-mini get pods -o wide

# List a single deployment with specified NAME in ps output format
kubectl-mini get deployment web

# List a single pod in JSON output format
kubectl-mini get -o json pod web-pod-13je7

# Return only the phase value of the specified pod
kubectl-mini get -o jsonpath='{.status.phase}' pod/web-pod-13je7

# List resource information in custom columns
kubectl-mini get pod test-pod -o custom-columns=CONTAINER:.spec.containers[0].name,IMAGE:.spec.containers[0].image

# List all deployments and services together in ps output format
kubectl-mini get deployments,services

# List all pods existing in all namespaces
kubectl-mini get pods --all-namespaces";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !self.raw.is_empty() {
            self.check_raw()?;
            return raw::run(context, &self.raw).await;
        }
        self.check(context)?;
        if self.watch || self.watch_only {
            return watch::run(&self, context).await;
        }
        let targets = self.selection().targets(context).await?;
        let bulk = |target: &Target| matches!(target, Target::Collection { .. });
        if !self.subresource.is_empty() && targets.targets.iter().any(bulk) {
            return Err(CommandError::message(
                "subresource cannot be used when bulk resources are specified",
            ));
        }
        let form = self.form(context)?;
        match form {
            Form::Objects(printer) => print::objects(&self, context, targets, &printer).await,
            Form::Table(wide) => print::tables(&self, context, targets, wide).await,
        }
    }
}

impl Get {
    fn check_raw(&self) -> Result<(), CommandError> {
        let selects = self.selector.as_deref().is_some_and(|selector| !selector.is_empty());
        let refusal = if self.watch || self.watch_only || selects {
            "--raw may not be specified with other flags that filter the server request or alter the output"
        } else if !self.arguments.is_empty() {
            "arguments may not be passed when --raw is specified"
        } else if self.output.output.as_deref().is_some_and(|output| !output.is_empty()) {
            "--raw and --output are mutually exclusive"
        } else {
            return Ok(());
        };
        Err(CommandError::message(refusal))
    }

    fn check(&self, context: &Context) -> Result<(), CommandError> {
        if self.watch || self.watch_only {
            if self.sort_by.is_some() {
                context.print_err(
                    "warning: --watch requested, --sort-by will be ignored for watch events received\n",
                )?;
            }
        } else if self.arguments.is_empty() && self.files.is_empty() {
            context.print_err(&format!(
                "You must specify the type of resource to get. Use \"{PROGRAM} api-resources\" for a complete list of supported resources.\n\n"
            ))?;
            return Err(CommandError::usage("get", "Required resource not specified."));
        }
        let output = self.output.output.as_deref().unwrap_or_default();
        if self.show_labels && !output.is_empty() && output != "wide" {
            return Err(CommandError::message(format!(
                "--show-labels option cannot be used with {output} printer"
            )));
        }
        if self.output_watch_events && !(self.watch || self.watch_only) {
            return Err(CommandError::message(
                "--output-watch-events option can only be used with --watch or --watch-only",
            ));
        }
        Ok(())
    }

    fn selection(&self) -> Selection {
        Selection {
            files: self.files.clone(),
            arguments: self.arguments.clone(),
            labels: self.selector.clone(),
            fields: self.field_selector.clone(),
            all_namespaces: self.all_namespaces,
            type_means_all: true,
            single_type: self.watch || self.watch_only,
            ..Selection::default()
        }
    }

    fn form(&self, _: &Context) -> Result<Form, CommandError> {
        if self.output.format() == ("wide".to_owned(), None) {
            return Ok(Form::Table(true));
        }
        Ok(match self.output.printer(Formats::WithTables)? {
            Some(printer) => Form::Objects(printer.without_headers(self.no_headers)),
            None => Form::Table(false),
        })
    }

    fn table_options(&self, info: &ResourceInfo, wide: bool, with_kind: bool) -> TableOptions {
        TableOptions {
            no_headers: self.no_headers,
            wide,
            with_namespace: self.all_namespaces && info.namespaced,
            with_kind: with_kind || self.show_kind,
            show_labels: self.show_labels,
            label_columns: self.label_columns.clone(),
        }
    }
}
