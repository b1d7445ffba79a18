"""How a language model is judged: losses, right answers, nearness of texts, agreement with its teacher."""
