//! `set image`.

use std::collections::BTreeMap;

use super::{Flags, Words, refuse};
use crate::{changing::resources_and_pairs, cli::Command, context::Context, errors::CommandError};

/// Changes images.
#[derive(clap::Args, Clone, Debug)]
pub struct Image {
    /// The objects, and `CONTAINER=IMAGE`.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: Flags,
}

const WORDS: Words =
    Words { done: "image updated", failed: "failed to patch image update to pod template:" };

impl Command for Image {
    const NAME: &'static str = "image";
    const ABOUT: &'static str = "Update the image of a pod template";
    const USAGE: &'static str = "image (-f FILENAME | TYPE NAME) CONTAINER_NAME_1=CONTAINER_IMAGE_1 ... CONTAINER_NAME_N=CONTAINER_IMAGE_N";
    const EXAMPLES: &'static str = "# Set a deployment's nginx container image to 'nginx:1.9.1', and its busybox container image to 'busybox'
kubectl-mini set image deployment/nginx busybox=busybox nginx=nginx:1.9.1";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let (resources, pairs) = resources_and_pairs(&self.arguments, "image")?;
        let images: BTreeMap<&str, &str> =
            pairs.iter().filter_map(|pair| pair.split_once('=')).collect();
        let items = self.flags.items(context, resources).await?;
        if images.is_empty() {
            return refuse("at least one image update is required");
        }
        if images.len() > 1 && images.contains_key("*") {
            return refuse(
                "all containers are already specified by *, but saw more than one container_name=container_image pairs",
            );
        }
        let edit = |_: &_, containers: &mut super::Containers<'_>| {
            let mut errors = Vec::new();
            for (name, image) in &images {
                let mut found = false;
                for list in ["initContainers", "containers"] {
                    for container in containers.named(list, name) {
                        container["image"] = (*image).into();
                        found = true;
                    }
                }
                if !found {
                    let text = format!("error: unable to find container named {name:?}");
                    errors.push(CommandError::message(text));
                }
            }
            CommandError::gather(errors)
        };
        self.flags.change(context, items, &WORDS, edit).await
    }
}
