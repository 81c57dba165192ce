//! Label selectors, as Kubernetes reads them.

use serde_json::Value;

use crate::object::{Labels, labels_at, list_at, text_at};

/// Whether a selector (`matchLabels` and `matchExpressions`) takes these labels. An empty one takes all.
pub(crate) fn takes(selector: &Value, labels: &Labels) -> bool {
    let all_labels = labels_at(selector, "/matchLabels")
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value));
    all_labels
        && list_at(selector, "/matchExpressions")
            .iter()
            .all(|expression| holds(expression, labels))
}

fn holds(expression: &Value, labels: &Labels) -> bool {
    let value = labels.get(text_at(expression, "/key"));
    let listed = || {
        let values = list_at(expression, "/values");
        value.is_some_and(|value| values.iter().any(|listed| listed.as_str() == Some(value)))
    };
    match text_at(expression, "/operator") {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // An operator that does not exist takes nothing, which the rules then find.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_take_what_kubernetes_would() {
        let labels: Labels = [("app".to_owned(), "web".to_owned())].into();
        let expression = |operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": "app", "operator": operator, "values": values }] });
        assert!(takes(&json!({}), &labels));
        assert!(takes(&json!({ "matchLabels": { "app": "web" } }), &labels));
        assert!(!takes(&json!({ "matchLabels": { "app": "auth" } }), &labels));
        assert!(takes(&expression("In", &["auth", "web"]), &labels));
        assert!(!takes(&expression("NotIn", &["auth", "web"]), &labels));
        assert!(takes(&expression("Exists", &[]), &labels));
        assert!(!takes(&expression("DoesNotExist", &[]), &labels));
        assert!(!takes(&expression("Im", &["web"]), &labels));
    }
}
