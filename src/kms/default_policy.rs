//! The key policies of keys that nobody wrote one for.

use super::key::KeyManager;
use super::policy::{Kind, Written};

/// The default policies in one account.
pub(super) struct DefaultPolicies {
    customer: Written,
    own: Written,
}

impl DefaultPolicies {
    pub(super) fn new(account: &str) -> DefaultPolicies {
        let parse = |text: String| {
            Written::parse(Kind::Key, &text).expect("the default policies are policies whatever the account")
        };
        DefaultPolicies { customer: parse(customer(account)), own: parse(own(account)) }
    }

    /// That of keys so managed.
    pub(super) fn of(&self, manager: KeyManager) -> &Written {
        match manager {
            KeyManager::Customer => &self.customer,
            KeyManager::Service | KeyManager::Owned => &self.own,
        }
    }
}

/// AWS KMS's default: the account's identity policies decide.
fn customer(account: &str) -> String {
    format!(
        r#"{{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {{
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "arn:aws:iam::{account}:root"
    }},
    "Action" : "kms:*",
    "Resource" : "*"
  }} ]
}}"#
    )
}

/// The account may use the key through a mounted volume, and look at it otherwise. AWS managed keys are for everybody who
/// comes through their service; but that a call comes from a volume is what its client says, and must give no right.
fn own(account: &str) -> String {
    format!(
        r#"{{
  "Version" : "2012-10-17",
  "Id" : "auto-kmsfs-1",
  "Statement" : [ {{
    "Sid" : "Allow access through kmsfs to the account",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "arn:aws:iam::{account}:root"
    }},
    "Action" : [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey" ],
    "Resource" : "*",
    "Condition" : {{
      "StringEquals" : {{
        "kms:ViaService" : "kmsfs"
      }}
    }}
  }}, {{
    "Sid" : "Allow direct access to key metadata to the account",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "arn:aws:iam::{account}:root"
    }},
    "Action" : [ "kms:Describe*", "kms:Get*", "kms:List*" ],
    "Resource" : "*"
  }} ]
}}"#
    )
}
