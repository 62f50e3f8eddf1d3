"""Who on the staff is told when something needs a person: by e-mail and Slack.

`kinds` says what is worth a message and in which words, `rules` who gets it, `writing` writes one
row per recipient in the transaction of what happened, `sending` carries rows out without holding a
transaction, `conditions` looks for what is so without having happened (docs/notifications.md).
"""
