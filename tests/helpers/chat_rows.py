"""Rows in the layout of DAPO-Math-17k and Eurus-2-RL-Data."""

import json

DAPO = {
  "data_source": "math_dapo",
  "prompt": [
    {
      "content": "Solve the following math problem step by step. The last line of your response should be of the form "
      "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\nHow many primes are below 10?"
      '\n\nRemember to put your answer on its own line after "Answer:".',
      "role": "user",
    }
  ],
  "ability": "MATH",
  "reward_model": {"ground_truth": "4", "style": "rule-lighteval/MATH_v2"},
  "extra_info": {"index": "9a9b6eb4-a1cb-49d1-8c1e-62eaf2f74079"},
}
UNASKED = DAPO["prompt"][0]["content"].replace("How many primes are below 10?", "")
EURUS_MATH = {
  "data_source": "numina_olympiads",
  "prompt": [
    {
      "content": "\nWhen tackling complex reasoning tasks, you have access to the following actions.\n",
      "role": "system",
    },
    {"content": "Find $\\cos 60^\\circ$.\n\nPresent the answer in LaTex format: \\boxed{Your answer}", "role": "user"},
  ],
  "ability": "math",
  "reward_model": {"ground_truth": "\\frac{1}{2}", "style": "rule"},
  "extra_info": {"index": 0, "split": "dummy"},
}
EURUS_CODE = {
  "data_source": "taco",
  "prompt": [
    {"content": "actions", "role": "system"},
    {
      "content": "Print the sum of two numbers.\n\nWrite Python code to solve the problem. Present the code in \n"
      "```python\nYour code\n```\nat the end.",
      "role": "user",
    },
  ],
  "ability": "code",
  "reward_model": {
    "ground_truth": json.dumps({"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}),
    "style": "rule",
  },
  "extra_info": {"index": 455261, "split": "dummy"},
}
