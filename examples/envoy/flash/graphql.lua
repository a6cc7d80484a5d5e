-- Tells the rate limit what a GraphQL request asks for: the names of the operations that it runs and of their top-level
-- fields, as dynamic metadata `flash.graphql`: name1 = "query.quote", name2 = "query.me", ... Each name once, however
-- often the request, or a batch, uses it: the limits count requests.
--
-- What this file does not understand it answers itself with a 4xx, and the charge of `errors` stays. Passing it on would
-- let a client write `quote` in a way that only the upstream understands. For the same reason everything that two
-- parsers read differently (a key twice, keys that differ in case, a query in the URL and in the body) is refused.
--
-- Envoy collects no more of a body than envoy.yaml says (request_body_buffer_limit), and what it read together with that.

package.path = "examples/envoy/flash/?.lua" -- as envoy.yaml's own paths: from where Envoy was started
local document = require("document")
local json = require("json")

local NAMESPACE = "flash.graphql"
local MAX_BODY_BYTES = 65536 -- as in envoy.yaml; the worst that fits keeps a worker busy for 40 ms, 20 KB of variables for 3
local MAX_BATCH = 50 -- operations: a batch counts once, so without an end it would be a way around the limits
local MAX_NAMES = 16 -- envoy.yaml has as many descriptors; more names would escape their limits
local MAX_NAME_BYTES = 64 -- far longer than any schema's; a name becomes part of a descriptor

local function malformed(why, status)
  error({ why = why, status = status }, 0)
end

local function unsupported(why)
  malformed(why, "415")
end

-- All names that the request asks for, each once.
local names_of

function envoy_on_request(handle)
  local headers = handle:headers()
  local request = {
    method = headers:get(":method"),
    path = headers:get(":path"),
    content_type = headers:get("content-type") or "",
    encoding = headers:get("content-encoding") or "identity",
  }
  local buffer = handle:body() -- waits for all of it
  local length = buffer and buffer:length() or 0
  request.body = length > 0 and length <= MAX_BODY_BYTES and buffer:getBytes(0, length) or ""
  request.too_long = length > MAX_BODY_BYTES
  local understood, result = pcall(names_of, request)
  if understood then
    local metadata = handle:streamInfo():dynamicMetadata()
    for place, name in ipairs(result) do
      metadata:set(NAMESPACE, "name" .. place, name)
    end
    return
  end
  local refusal = result
  if type(refusal) ~= "table" then -- a mistake in these files is no way around the limits either
    handle:logErr("graphql.lua: " .. tostring(result))
    refusal = { why = "the request is not understood" }
  end
  handle:respond(
    { [":status"] = refusal.status or "400", ["content-type"] = "application/json" },
    '{"success": false, "code": "BAD_REQUEST", "message": "' .. refusal.why .. '"}'
  )
end

local function add_name(names, kind, name)
  local full = kind .. "." .. name
  if names[full] then
    return
  elseif #names == MAX_NAMES or #name > MAX_NAME_BYTES then
    malformed("the request asks for too much at once")
  end
  names[full] = true
  names[#names + 1] = full
end

local WANTED = { query = "query", operationname = "operationName" }

-- Keeps `query` and `operationName` in `kept`. Go's JSON and ASP.NET's query strings ignore case, others do not.
local function keep(kept, key, value)
  local wanted = WANTED[key:lower()]
  if not wanted then
    return
  elseif wanted ~= key or kept[wanted] ~= nil then
    malformed("query or operationName is given twice, or misspelt")
  elseif value ~= json.NULL then
    kept[wanted] = type(value) == "string" and value or malformed(wanted .. " is not a text")
  end
end

local function percent_decoded(text)
  if text:gsub("%%%x%x", ""):find("%", 1, true) then
    malformed("the URL is badly encoded")
  end
  return (text:gsub("%+", " "):gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local function url_parameters(path)
  local kept = {}
  local search = path:match("^[^?]*%?(.*)$") or ""
  if search:find(";", 1, true) then
    malformed("a semicolon in the URL separates for some servers only") -- encoded it may stand there
  end
  for pair in search:gmatch("[^&]+") do
    local key, value = pair:match("^([^=]*)=?(.*)$")
    keep(kept, percent_decoded(key), percent_decoded(value))
  end
  return kept
end

-- `application/json` of `application/json; charset=utf-8`. Bytes read in another charset would be another text upstream,
-- and a parameter that is not known here may say so.
local function media_type(content_type)
  local kind, parameters = content_type:lower():match("^([%w/+.-]+)%s*(.*)$")
  if not kind or not (parameters == "" or parameters:match('^;%s*charset="?utf%-8"?%s*$')) then
    unsupported("the content type is not supported")
  end
  return kind
end

local function add_operation(names, url, given)
  local asked = { query = url.query, operationName = url.operationName }
  for key, value in pairs(given) do
    keep(asked, key, value)
  end
  local operation_name = asked.operationName ~= "" and asked.operationName or nil -- some servers read "" as none
  document.each_name(asked.query or malformed("there is no query"), operation_name, function(kind, name)
    add_name(names, kind, name)
  end)
end

local function add_json(names, url, body)
  local value = json.read(body)
  local batch = type(value) == "table" and value.is_array and value or { value }
  if #batch == 0 or #batch > MAX_BATCH then
    malformed("the batch is empty or too long")
  end
  for _, item in ipairs(batch) do
    add_operation(names, url, type(item) == "table" and item.fields or malformed("an operation is not an object"))
  end
end

local function add_body(names, url, request)
  if request.encoding:lower() ~= "identity" then
    unsupported("a compressed body cannot be read here")
  end
  local kind = media_type(request.content_type)
  if kind == "application/json" then
    add_json(names, url, request.body)
  elseif kind == "application/graphql" then
    add_operation(names, url, { query = request.body })
  else
    unsupported("the content type is not supported")
  end
end

function names_of(request)
  if request.too_long then
    malformed("the body is too long", "413")
  end
  local names, url = {}, url_parameters(request.path)
  if request.method == "POST" then
    add_body(names, url, request)
  elseif request.method ~= "GET" or request.body ~= "" then
    malformed("GraphQL is asked by POST, or by GET without a body")
  else
    add_operation(names, url, {})
  end
  return names
end
