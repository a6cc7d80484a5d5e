-- GraphQL documents (specification of September 2025), as far as it takes to find the top-level fields of one that a server
-- would accept.

local document = {}

local MAX_NESTING = 64 -- where `selections` calls itself, for inline fragments in each other

-- Ends the reading; graphql.lua answers the client.
local function malformed(why)
  error({ why = why }, 0)
end

local OPENING = { ["{"] = true, ["("] = true, ["["] = true }
local CLOSING = { ["}"] = true, [")"] = true, ["]"] = true }
local OPERATIONS = { query = true, mutation = true, subscription = true }
local BYTE_ORDER_MARK = "\239\187\191"

-- `at` stands behind the opening quote; returns where the string ends.
local function graphql_string(text, at)
  if text:sub(at, at + 1) ~= '""' then
    while true do
      at = text:match('^[^"\\\r\n]*()', at)
      local mark = text:sub(at, at)
      if mark == '"' then
        return at + 1
      elseif mark ~= "\\" then
        malformed("a GraphQL string does not end")
      end
      at = at + 2
    end
  end
  local start = at + 2
  at = start
  while true do
    at = text:find('"""', at, true) or malformed("a GraphQL block string does not end")
    if at == start or text:sub(at - 1, at - 1) ~= "\\" then
      return at + 3
    end
    at = at + 3
  end
end

-- The next token: its kind (a punctuator is its own), its text where that is a name, and where it ends.
local function token(text, at)
  while true do
    at = text:match("^[ \t\r\n,]*()", at)
    if text:sub(at, at) == "#" then
      at = text:match("^[^\r\n]*()", at)
    elseif text:sub(at, at + 2) == BYTE_ORDER_MARK then
      at = at + 3
    else
      break
    end
  end
  local name, stop = text:match("^([_A-Za-z][_0-9A-Za-z]*)()", at)
  if name then
    return "name", name, stop
  end
  local mark = text:match("^[!$&()%[%]{}:=@|]", at)
  if mark then
    return mark, nil, at + 1
  elseif text:sub(at, at) == '"' then
    return "string", nil, graphql_string(text, at + 1)
  elseif text:sub(at, at + 2) == "..." then
    return "...", nil, at + 3
  elseif at > #text then
    return "end", nil, at
  end
  return "number", nil, text:match("^%-?%d[%d.eE+-]*()", at) or malformed("the query is not GraphQL")
end

local function advance(reader)
  reader.kind, reader.name, reader.at = token(reader.text, reader.at)
end

local function take(reader, kind)
  if reader.kind ~= kind then
    malformed("the query is not GraphQL")
  end
  local name = reader.name
  advance(reader)
  return name
end

-- Over arguments, or the selections below a field, however deep: by counting, for deep ones would exhaust the stack.
local function skip_group(reader)
  local open = 0
  repeat
    if OPENING[reader.kind] then
      open = open + 1
    elseif CLOSING[reader.kind] then
      open = open - 1
    elseif reader.kind == "end" then
      malformed("a bracket of the query is not closed")
    end
    advance(reader)
  until open == 0
end

local function skip_if(reader, opening)
  if reader.kind == opening then
    skip_group(reader)
  end
end

-- A field under @skip or @include counts as asked for: only the variables say whether it is.
local function skip_directives(reader)
  while reader.kind == "@" do
    advance(reader)
    take(reader, "name")
    skip_if(reader, "(")
  end
end

-- Adds one selection set's fields, and the fragments that it spreads, to `found`.
local function selections(reader, found, nesting)
  if nesting > MAX_NESTING then
    malformed("fragments are nested too deeply")
  end
  take(reader, "{")
  repeat
    if reader.kind == "..." then
      advance(reader)
      if reader.kind == "name" and reader.name ~= "on" then
        found.spreads[#found.spreads + 1] = take(reader, "name")
        skip_directives(reader)
      else
        if reader.kind == "name" then
          advance(reader)
          take(reader, "name")
        end
        skip_directives(reader)
        selections(reader, found, nesting + 1)
      end
    else
      local field = take(reader, "name")
      if reader.kind == ":" then -- it was an alias
        advance(reader)
        field = take(reader, "name")
      end
      found.fields[#found.fields + 1] = field
      skip_if(reader, "(")
      skip_directives(reader)
      skip_if(reader, "{")
    end
  until reader.kind == "}"
  advance(reader)
  return found
end

local function operation(reader, parsed)
  local found = { kind = "query", name = "", fields = {}, spreads = {} }
  if reader.kind ~= "{" then
    found.kind = take(reader, "name")
    if reader.kind == "name" then
      found.name = take(reader, "name")
    end
    skip_if(reader, "(")
    skip_directives(reader)
  end
  if parsed.operations[found.name] then
    malformed("two operations have one name")
  end
  parsed.operations[found.name] = selections(reader, found, 1)
  parsed.count = parsed.count + 1
  parsed.last = found
end

local function fragment(reader, parsed)
  advance(reader)
  local name = take(reader, "name")
  if take(reader, "name") ~= "on" or parsed.fragments[name] then
    malformed("the query is not GraphQL")
  end
  take(reader, "name")
  skip_directives(reader)
  parsed.fragments[name] = selections(reader, { fields = {}, spreads = {} }, 1)
end

local function read(text)
  local reader = { text = text, at = 1 }
  local parsed = { operations = {}, fragments = {}, count = 0 }
  advance(reader)
  repeat
    if reader.kind == "string" then -- a description
      advance(reader)
    end
    if reader.kind == "{" or OPERATIONS[reader.name] then
      operation(reader, parsed)
    elseif reader.name == "fragment" then
      fragment(reader, parsed)
    else
      malformed("the query is not GraphQL")
    end
  until reader.kind == "end"
  return parsed
end

-- The operation that a server would run.
local function chosen(parsed, name)
  if name then
    return parsed.operations[name] or malformed("there is no operation of this name")
  elseif parsed.count ~= 1 then
    malformed("which of the operations is to run?")
  end
  return parsed.last
end

-- Calls `each(kind, name)` with the name (if it has one) and the top-level fields of the operation that a server would run;
-- the kind is query, mutation or subscription. Fragments are followed once, so circles end.
function document.each_name(text, operation_name, each)
  local parsed = read(text)
  local run = chosen(parsed, operation_name)
  if run.name ~= "" then
    each(run.kind, run.name)
  end
  local followed, pending = {}, { run }
  while #pending > 0 do
    local found = table.remove(pending)
    for _, field in ipairs(found.fields) do
      each(run.kind, field)
    end
    for _, spread in ipairs(found.spreads) do
      if not followed[spread] then
        followed[spread] = true
        pending[#pending + 1] = parsed.fragments[spread] or malformed("there is no fragment of this name")
      end
    end
  end
end

return document
