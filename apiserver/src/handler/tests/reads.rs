use super::*;

async fn with_config_maps(count: usize) -> Chain {
    let chain = Chain::start().await;
    for n in 0..count {
        let mut object = config_map(&format!("c{n:03}"), json!({}));
        object["metadata"]["labels"] = json!({"odd": (n % 2).to_string()});
        chain.create(&resource::CONFIG_MAPS, object).await.unwrap();
    }
    chain
}

#[tokio::test]
async fn pages_show_one_state() {
    let chain = with_config_maps(25).await;
    let mut options = ListOptions { limit: 10, ..ListOptions::default() };
    let first = chain.list(&resource::CONFIG_MAPS, options.clone()).await.unwrap();
    assert_eq!((first.items.len(), first.remaining), (10, Some(15)));
    // What comes meanwhile is not in the later pages.
    chain.create(&resource::CONFIG_MAPS, config_map("c0105", json!({}))).await.unwrap();
    chain.delete(&resource::CONFIG_MAPS, "c020", DeleteOptions::default()).await.unwrap();
    options.continue_token.clone_from(&first.continue_token);
    let second = chain.list(&resource::CONFIG_MAPS, options.clone()).await.unwrap();
    options.continue_token.clone_from(&second.continue_token);
    let third = chain.list(&resource::CONFIG_MAPS, options.clone()).await.unwrap();
    assert_eq!(third.continue_token, "");
    let all: Vec<String> = [&first, &second, &third].into_iter().flat_map(names).collect();
    assert_eq!(all.len(), 25);
    assert!(all.contains(&"c020".to_owned()) && !all.contains(&"c0105".to_owned()));
    assert_eq!(third.resource_version, first.resource_version);
    chain.storage.compact(chain.storage.current_revision().await.unwrap()).await.unwrap();
    let expired = chain.list(&resource::CONFIG_MAPS, options).await.unwrap_err();
    assert!(expired.is_expired() && expired.code == 410, "{expired:?}");
}

#[tokio::test]
async fn selectors_select_on_every_page() {
    let chain = with_config_maps(25).await;
    let mut options =
        ListOptions { label_selector: "odd=1".into(), limit: 5, ..ListOptions::default() };
    let mut all = Vec::new();
    loop {
        let page = chain.list(&resource::CONFIG_MAPS, options.clone()).await.unwrap();
        assert!(page.items.len() <= 5 && page.remaining.is_none());
        all.extend(names(&page));
        if page.continue_token.is_empty() {
            break;
        }
        options.continue_token = page.continue_token;
    }
    assert_eq!(all.len(), 12);
    let fields = |text: &str| ListOptions { field_selector: text.into(), ..ListOptions::default() };
    let by_name = chain.list(&resource::CONFIG_MAPS, fields("metadata.name=c003")).await.unwrap();
    assert_eq!(names(&by_name), ["c003"]);
    let not = chain.list(&resource::CONFIG_MAPS, fields("metadata.name!=c003")).await.unwrap();
    assert_eq!(not.items.len(), 24);
    assert_eq!(
        chain.list(&resource::CONFIG_MAPS, fields("data.k=1")).await.unwrap_err().message,
        "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
    assert_eq!(
        chain.list(&resource::PODS, fields("spec.x=1")).await.unwrap_err().message,
        "field label not supported: spec.x"
    );
}

#[tokio::test]
async fn versions_are_exact_or_not_older() {
    let chain = with_config_maps(3).await;
    let before = chain.list(&resource::CONFIG_MAPS, ListOptions::default()).await.unwrap();
    chain.create(&resource::CONFIG_MAPS, config_map("d", json!({}))).await.unwrap();
    let at = |version: &str, how: &str| ListOptions {
        resource_version: version.into(),
        resource_version_match: how.into(),
        ..ListOptions::default()
    };
    let version = before.resource_version.as_str();
    let exact = chain.list(&resource::CONFIG_MAPS, at(version, "Exact")).await.unwrap();
    assert_eq!((exact.items.len(), exact.resource_version.as_str()), (3, version));
    let newer = chain.list(&resource::CONFIG_MAPS, at(version, "NotOlderThan")).await.unwrap();
    assert_eq!(newer.items.len(), 4);
    assert_eq!(chain.list(&resource::CONFIG_MAPS, at("0", "")).await.unwrap().items.len(), 4);
    let context = chain.context(Verb::Get, &resource::CONFIG_MAPS, "d");
    let request = Request::Get { resource_version: "x".into() };
    assert!(chain.object(context, request).await.unwrap_err().is_invalid());
}

#[tokio::test]
async fn tables_and_metadata_are_made_of_what_is_stored() {
    let chain = with_config_maps(2).await;
    let context = RequestContext {
        output: OutputShape::Table(crate::request::IncludeObject::Metadata),
        ..chain.context(Verb::List, &resource::CONFIG_MAPS, "")
    };
    let table = chain.object(context, Request::List(ListOptions::default())).await.unwrap();
    assert_eq!(table.get_list(&["columnDefinitions"])[0]["name"], "Name");
    assert_eq!(table.get_list(&["rows"])[1]["cells"][0], "c001");
    assert_eq!(table.get_list(&["rows"])[1]["object"]["kind"], "PartialObjectMetadata");
    let context = RequestContext {
        output: OutputShape::Metadata,
        ..chain.context(Verb::Get, &resource::CONFIG_MAPS, "c000")
    };
    let request = Request::Get { resource_version: String::new() };
    let metadata = chain.object(context, request).await.unwrap();
    assert_eq!((metadata.kind(), metadata.name()), ("PartialObjectMetadata", "c000"));
}

#[tokio::test]
async fn verbs_and_subresources_that_are_not_there() {
    let chain = Chain::start().await;
    assert_eq!(chain.get(&resource::CONFIG_MAPS, "a/status").await.unwrap_err().code, 404);
    let context = chain.context(Verb::DeleteCollection, &resource::NAMESPACES, "");
    let request = Request::DeleteCollection(ListOptions::default(), DeleteOptions::default());
    assert_eq!(chain.object(context, request).await.unwrap_err().code, 405);
}
