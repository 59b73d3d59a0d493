#include "tokens/tokenizer_json.h"

namespace tumbler::tokens {
namespace {

// What it takes: messages of the roles system, user, assistant (with content, reasoning_content, tool_calls)
// and tool; tools; add_generation_prompt; enable_thinking. Thoughts of turns before the last question are
// left out, as they were not meant to be read again; an answer to the last question keeps them, so that a
// chain of tool calls goes on thinking where it was.
constexpr std::string_view kTemplate =
    R"JINJA({%- set first_is_system = messages and messages[0].role == 'system' -%}
{%- if tools -%}
{{- '<|im_start|>system\n' -}}
{%- if first_is_system -%}{{- messages[0].content + '\n\n' -}}{%- endif -%}
{{- '# Tools\n\nThese functions can be called, described as JSON schemas between <tools> and </tools>:\n<tools>' -}}
{%- for tool in tools -%}{{- '\n' -}}{{- tool | tojson -}}{%- endfor -%}
{{- '\n</tools>\n\nTo call one, write its name and arguments as a JSON object between <tool_call> and </tool_call>:\n<tool_call>\n{"name": "the function", "arguments": {"argument": "value"}}\n</tool_call><|im_end|>\n' -}}
{%- elif first_is_system -%}
{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' -}}
{%- endif -%}
{%- set state = namespace(last_question=-1) -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}{%- set state.last_question = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
{%- set content = message.content if message.content is string else '' -%}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) -%}
{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' -}}
{%- elif message.role == 'assistant' -%}
{%- set thought = message.reasoning_content if message.reasoning_content is string else '' -%}
{%- set answer = content -%}
{%- if not thought and '</think>' in content -%}
{%- set thought = content.split('</think>')[0].split('<think>')[-1] -%}
{%- set answer = content.split('</think>')[-1] -%}
{%- endif -%}
{{- '<|im_start|>assistant\n' -}}
{%- if loop.index0 > state.last_question and (loop.last or thought) -%}
{{- '<think>\n' + thought.strip() + '\n</think>\n\n' + answer.strip() -}}
{%- else -%}
{{- answer.strip() -}}
{%- endif -%}
{%- if message.tool_calls -%}
{%- for call in message.tool_calls -%}
{%- set function = call.function if call.function else call -%}
{%- if not loop.first or answer.strip() -%}{{- '\n' -}}{%- endif -%}
{{- '<tool_call>\n{"name": "' + function.name + '", "arguments": ' -}}
{%- if function.arguments is string -%}{{- function.arguments -}}{%- else -%}{{- function.arguments | tojson -}}{%- endif -%}
{{- '}\n</tool_call>' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- elif message.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
{{- '\n<tool_response>\n' + content + '\n</tool_response>' -}}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{- '<|im_end|>\n' -}}{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}
{%- endif -%})JINJA";

}  // namespace

std::string_view chat_template() noexcept {
  return kTemplate;
}

}  // namespace tumbler::tokens
