//! An Ingress without a class gets the default one; the youngest, should there be several.

use apimachinery::{object::Object, resource, status::Status};

use super::{Operation, Review};
use crate::registry::kinds::CLASS_ANNOTATION;

/// `networkingv1.AnnotationIsDefaultIngressClass`.
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), Status> {
    let is_new = review.operation == Operation::Create && review.context.subresource.is_empty();
    let has_class = |ingress: &Object| {
        ingress.get(&["spec", "ingressClassName"]).is_some()
            || ingress.annotation(CLASS_ANNOTATION).is_some()
    };
    if !(is_new && review.is(&resource::INGRESSES)) || has_class(review.object) {
        return Ok(());
    }
    let defaults = review.facts.ingress_classes.iter();
    let defaults = defaults.filter(|class| class.annotation(IS_DEFAULT) == Some("true"));
    let chosen = defaults.max_by(|a, b| {
        let made = |class: &Object| class.get_str(&["metadata", "creationTimestamp"]).to_owned();
        made(a).cmp(&made(b)).then_with(|| b.name().cmp(a.name()))
    });
    if let Some(class) = chosen.map(|class| class.name().to_owned()) {
        review.object.set(&["spec", "ingressClassName"], class);
    }
    Ok(())
}
