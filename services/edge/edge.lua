-- What no setting of Envoy does: headers are measured and passed on by name, HEAD is answered by GET, and the status and
-- the problem document that a service sends in metadata become those of the HTTP response.
-- The paths of the EO DataHub are made ours here. An error lets the untouched message pass, so the tests fail on any
-- that Envoy counts.

-- All that a service may see of a request. Identity comes from the token alone, so no other header is of use.
local PASSED = {}
for name in ([[
  :authority :method :path :scheme accept accept-language authorization content-encoding content-length content-type
  grpc-accept-encoding grpc-encoding grpc-timeout idempotency-key if-match if-none-match if-range last-event-id prefer
  range te traceparent tracestate transfer-encoding user-agent x-forwarded-for x-forwarded-host x-forwarded-port
  x-forwarded-prefix x-forwarded-proto x-grpc-web x-request-id x-user-agent
]]):gmatch("%S+") do
  PASSED[name] = true
end

-- Tells the way out what came in. No client can write here.
local OWN = "workflow_runner.edge"

local TITLES = {
  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed",
  [406] = "Not Acceptable", [409] = "Conflict", [412] = "Precondition Failed", [413] = "Content Too Large",
  [415] = "Unsupported Media Type", [416] = "Range Not Satisfiable", [422] = "Unprocessable Content",
  [429] = "Too Many Requests", [500] = "Internal Server Error", [501] = "Not Implemented",
  [503] = "Service Unavailable", [504] = "Gateway Timeout",
}

local INTERNAL = {
  "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding", "grpc-encoding", "x-http-status",
  "x-problem", "x-content-length",
}

-- Where the page to sign in keeps a token: browsers send no header of their own when they follow a link.
local COOKIE = "workflow_runner_token"

-- Under the paths of the EO DataHub every answer has them, not only one to OPTIONS.
local CROSS_ORIGIN = {
  ["access-control-allow-headers"] = "Content-Type,Authorization,Prefer",
  ["access-control-allow-methods"] = "*",
  ["access-control-max-age"] = "1728000",
}

-- In bytes. A service takes metadata of 32 KiB, and the path comes to it twice.
local LONGEST_PATH = 8 * 1024
local LARGEST_HEADERS = 20 * 1024
local MOST_HEADERS = 200

-- Where the EO DataHub has a workspace. The first pattern is shared with its catalog, so only two resources are ours.
local CATALOG = "^(/api/catalogue/stac/catalogs/user/catalogs/([^/]+))(/([^/]+).*)$"
local ADES = "^(/ades/([^/]+)/ogc%-api)(.*)$"
local LONGEST_WORKSPACE = 200

-- Escapes of characters that need none say nothing (RFC 3986, 6.2.2.2), so that the routes need not know them. Of several
-- slashes, as clients make them of an address that ends with one, the first counts.
local function normalized(path)
  local location, query = path:match("^([^?]*)(.*)$")
  return (location:gsub("//+", "/") .. query):gsub("%%(%x%x)", function(digits)
    local character = string.char(tonumber(digits, 16))
    return character:find("[%w._~-]") and character
  end)
end

-- Well-formed sequences of several bytes. Whatever is left of a text without them is ASCII, or the text is not UTF-8.
local SEQUENCES = {
  "[\194-\223][\128-\191]", "\224[\160-\191][\128-\191]", "[\225-\236\238\239][\128-\191][\128-\191]",
  "\237[\128-\159][\128-\191]", "\240[\144-\191][\128-\191][\128-\191]",
  "[\241-\243][\128-\191][\128-\191][\128-\191]", "\244[\128-\143][\128-\191][\128-\191]",
}

-- A header that is not UTF-8 is ISO-8859-1, as HTTP once had it.
local function as_utf8(value)
  local rest = value
  for _, sequence in ipairs(SEQUENCES) do
    rest = rest:gsub(sequence, " ")
  end
  if not rest:find("[\128-\255]") then
    return value
  end
  return (value:gsub("[\128-\255]", function(byte)
    return string.char(0xc0 + math.floor(byte:byte() / 0x40), 0x80 + byte:byte() % 0x40)
  end))
end

-- The last one counts of `limit` and `skip`: clients add theirs to a link that has them.
local function without_repeats(query)
  local last = {}
  local position = 0
  for part in query:gmatch("[^&]*") do
    position = position + 1
    last[part:match("^[^=]*")] = position
  end
  local kept = {}
  position = 0
  for part in query:gmatch("[^&]*") do
    position = position + 1
    local name = part:match("^[^=]*")
    if last[name] == position or not (name == "limit" or name == "skip") then
      kept[#kept + 1] = part
    end
  end
  return table.concat(kept, "&")
end

-- Our path for one of the EO DataHub, and the path that the workspace has there; nothing for any other path.
local function canonical(path)
  local location, query = path:match("^([^?]*)(.*)$")
  local base, workspace, tail, kind = location:match(CATALOG)
  if not base or not (kind == "processes" or kind == "jobs") then
    base, workspace, tail = location:match(ADES)
    if not base or not (tail == "" or tail:sub(1, 1) == "/") then
      return nil
    end
  end
  if #workspace > LONGEST_WORKSPACE then
    return nil
  end
  tail = tail:gsub("^(/jobs/[^/]+)/([^/]+)%.log(/?)$", "%1/logs/%2%3")
  if query ~= "" then
    query = "?" .. without_repeats(query:sub(2))
  end
  return "/workspaces/" .. workspace .. tail .. query, base
end

-- In bytes. So much of a download comes in one message, which is there or is not.
local ONE_PIECE = 1024 * 1024

local function json_string(text)
  return '"' .. text:gsub('[%c"\\]', function(character)
    return string.format("\\u%04x", character:byte())
  end) .. '"'
end

-- `detail` is JSON already.
local function problem_document(status, detail, path)
  return '{"type":"about:blank","title":' .. json_string(TITLES[status] or "Error") .. ',"status":' .. status
    .. ',"detail":' .. detail .. ',"instance":' .. json_string(path:match("^[^?]*")) .. "}"
end

-- The service that a health check asks about: field 1 of the only message, after the five bytes that frame it.
local function health_service(message)
  if #message >= 7 and message:byte(6) == 0x0a then
    return message:sub(8, 7 + message:byte(7))
  end
end

-- Whether a request comes from a page of ours. Only browsers write these headers, and no page of anybody can.
local function is_from_us(headers)
  local site = headers:get("sec-fetch-site")
  if site then
    return site == "same-origin"
  end
  -- Over plain HTTP browsers send the first only to the machine that they run on.
  local origin = headers:get("origin")
  return origin ~= nil and origin:match("^https?://(.+)$") == headers:get(":authority")
end

-- The token in the cookie. What another site has a browser send must not be done in the name of whoever sits there, so
-- the cookie counts for what our own pages send, and for following a link, which changes nothing.
local function token_in_cookie(headers)
  local token = ("; " .. (headers:get("cookie") or "")):match("; *" .. COOKIE .. "=([%w._-]+)")
  if not token or is_from_us(headers) then
    return token
  end
  local method = headers:get(":method")
  local mode = headers:get("sec-fetch-mode")
  if (method == "GET" or method == "HEAD") and (mode == nil or mode == "navigate") then
    return token
  end
end

-- How much an Accept header wants a media type: the weight of the most specific range that has it (RFC 9110, 12.5.1),
-- how specific that is, and where it stands.
local function wanted(accept, media_type)
  local quality, best, position, place = 0, 0, 0, 0
  local family = media_type:match("^[^/]+/") .. "*"
  for part in accept:lower():gmatch("[^,]+") do
    place = place + 1
    local range = part:match("^%s*([^%s;]+)")
    local fit = range == media_type and 3 or range == family and 2 or range == "*/*" and 1 or 0
    if fit > best then
      best, position = fit, place
      quality = tonumber(part:match(";%s*q%s*=%s*([^;%s]*)") or "1") or 0
    end
  end
  return quality, best, position
end

-- Whether people ask rather than programs: `f=html`, or who wants HTML more than JSON. Who wants both alike wants the
-- one that is named more closely, or first. A wildcard is satisfied by JSON.
local function is_for_people(path, accept)
  local format = path:match("[?&]f=([^&]*)")
  if format then
    return format == "html"
  end
  local html, html_fit, html_place = wanted(accept, "text/html")
  local xhtml, xhtml_fit, xhtml_place = wanted(accept, "application/xhtml+xml")
  if xhtml_fit == 3 and (xhtml > html or xhtml == html and html_fit < 3) then
    html, html_fit, html_place = xhtml, xhtml_fit, xhtml_place
  end
  local json, json_fit, json_place = wanted(accept, "application/json")
  if html <= 0 or html ~= json then
    return html > 0 and html > json
  elseif html_fit ~= json_fit then
    return html_fit > json_fit
  end
  return html_place < json_place
end

-- Whether a problem document must be called JSON: the caller takes that, and not what it is.
local function takes_only_json(accept)
  local quality, fit = wanted(accept, "application/json")
  return fit == 3 and quality > 0 and wanted(accept, "application/problem+json") <= 0
end

local function has_page(path)
  local resource = path:match("^[^?]*")
  for _, pattern in ipairs(PAGES) do
    if resource:find(pattern) then
      return true
    end
  end
  return false
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path") or ""
  local content_type = headers:get("content-type") or ""
  local is_grpc = content_type:sub(1, 16) == "application/grpc"
  local size, count = 0, 0
  local refused = {}
  local mended = {}
  for name, value in pairs(headers) do
    size = size + #name + #value
    count = count + 1
    if not PASSED[name] then
      refused[#refused + 1] = name
    elseif name ~= ":path" and value:find("[\128-\255]") then
      mended[name] = true
    end
  end
  -- Envoy has limits too, but over HTTP/2 it has no words for them.
  local too_large = #path > LONGEST_PATH or size > LARGEST_HEADERS or count > MOST_HEADERS
  if too_large and is_grpc then
    return handle:respond({
      [":status"] = "200", ["content-type"] = "application/grpc", ["grpc-status"] = "8",
      ["grpc-message"] = "The metadata of the call is larger than the 20 KiB or 200 entries that are read.",
    }, "")
  elseif #path > LONGEST_PATH then
    return handle:respond({ [":status"] = "414" }, "URL too long")
  elseif too_large then
    return handle:respond({ [":status"] = "431" }, "headers too large")
  end
  for name in pairs(mended) do
    headers:replace(name, as_utf8(headers:get(name)))
  end
  local token = headers:get("cookie") and token_in_cookie(headers)
  local forged = headers:get("x-page")
  for _, name in ipairs(refused) do
    headers:remove(name)
  end
  if forged then
    -- The first look of the router saw it.
    handle:clearRouteCache()
  end

  if is_grpc then
    if path:sub(1, 23) == "/grpc.health.v1.Health/" then
      local body = handle:body()
      local service = body and health_service(body:getBytes(0, body:length()))
      if service and service:find("^[%w_.]+$") then
        handle:headers():add("x-health-service", service)
        handle:clearRouteCache()
      end
    end
    return
  end

  -- A caller over REST has no say in how long a service works.
  headers:remove("grpc-timeout")
  if content_type ~= "" then
    headers:add("x-original-content-type", content_type)
  end
  local plain = normalized(path)
  if plain ~= path then
    path = plain
    headers:replace(":path", path)
    handle:clearRouteCache()
  end
  local accept = headers:get("accept") or ""
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set(OWN, "path", path)
  if takes_only_json(accept) then
    metadata:set(OWN, "json", true)
  end
  local ours, base = canonical(path)
  if ours then
    metadata:set(OWN, "alias", true)
    headers:replace(":path", ours)
    headers:add("x-workflow-runner-alias", base)
    -- What Envoy itself refuses it names by this.
    headers:add("x-envoy-original-path", path)
    handle:clearRouteCache()
  end
  if headers:get(":method") == "HEAD" then
    metadata:set(OWN, "head", true)
    headers:replace(":method", "GET")
    headers:add("x-workflow-runner-head", "1")
  end
  if token and not headers:get("authorization") then
    metadata:set(OWN, "signed_in", true)
    headers:add("authorization", "Bearer " .. token)
  end
  if headers:get(":method") == "GET" then
    local page = has_page(path)
    if page then
      metadata:set(OWN, "varies", true)
    end
    if is_for_people(path, accept) then
      metadata:set(OWN, "people", true)
      if page then
        headers:replace(":path", "/html" .. path)
      end
      if page or path:find("^/%f[?%z]") then
        headers:add("x-page", "1")
        handle:clearRouteCache()
      end
    end
  end
end

-- The message of a google.rpc.Status in JSON, as it stands there: quoted and escaped.
local function status_message(json)
  local _, start = json:find('"message":"', 1, true)
  if not start then
    return '""'
  end
  local position = start + 1
  while true do
    local found = json:find('["\\]', position)
    if not found then
      return '""'
    end
    if json:sub(found, found) == '"' then
      return json:sub(start, found)
    end
    position = found + 2
  end
end

local function character(code)
  local low = function(shift) return 0x80 + math.floor(code / shift) % 0x40 end
  if code < 0x80 then
    return string.char(code)
  elseif code < 0x800 then
    return string.char(0xc0 + math.floor(code / 0x40), low(1))
  elseif code < 0x10000 then
    return string.char(0xe0 + math.floor(code / 0x1000), low(0x40), low(1))
  end
  return string.char(0xf0 + math.floor(code / 0x40000), low(0x1000), low(0x40), low(1))
end

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function escaped(text)
  return (text:gsub("[&<>\"']", ESCAPES))
end

-- A member of a problem document, as HTML. Quotes inside a text of JSON are escaped, so this finds nothing in one.
local function member(json, name)
  local text = json:match('"' .. name .. '":(".*)')
  text = text and status_message('"message":' .. text):sub(2, -2) or ""
  text = text:gsub("\\u([dD][89aAbB]%x%x)\\u([dD][c-fC-F]%x%x)", function(high, low)
    return character(0x10000 + (tonumber(high, 16) - 0xd800) * 0x400 + tonumber(low, 16) - 0xdc00)
  end)
  text = text:gsub("\\u(%x%x%x%x)", function(code) return character(tonumber(code, 16)) end)
  return escaped((text:gsub("\\(.)", { n = "\n", t = " ", r = "", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" })))
end

local PAGE = [[<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>TITLE · Workflow Runner</title>
<link rel="icon" href="ROOTstatic/latest/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="ROOTstatic/latest/site.css">
</head>
<body>
<main id="main">
<section class="panel sign">
  <p class="brand"><img src="ROOTstatic/latest/icon.svg" alt="" width="30" height="30"><span>Workflow Runner</span></p>
  <h1>TITLE</h1>
  <p class="prose">DETAIL</p>
  <p class="actions">LINK</p>
  <p class="hint">STATUS · <code>PATH</code></p>
</section>
</main>
</body>
</html>
]]
local PAGE_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; "
  .. "frame-ancestors 'none'"

-- What people see of a problem document.
local function problem_page(problem, status, came)
  local resource = came.path:match("^[^?]*")
  local root = ("../"):rep(select(2, resource:gsub("/", "")) - 1)
  local title, detail, link = member(problem, "title"), member(problem, "detail"), ""
  if status == 401 then
    local back = came.path:gsub("[^%w/._~-]", function(byte) return ("%%%02X"):format(byte:byte()) end)
    -- A token that was refused is not to be tried again.
    link = '<a class="button primary" href="' .. root .. "signin?next=" .. back .. (came.signed_in and "&amp;again=1" or "")
      .. '">Sign in</a>'
    title = came.signed_in and "Sign in again" or "Sign in first"
    detail = came.signed_in and detail or "This page is for those who have a token for the workspace."
  elseif resource:find("^/workspaces/[^/]+/.") then
    link = '<a class="button" href="' .. escaped(resource:gsub("/+[^/]*/?$", "")) .. '">One level up</a>'
  end
  local values = {
    TITLE = title, DETAIL = detail, LINK = link, STATUS = tostring(status), PATH = escaped(resource),
    ROOT = root == "" and "./" or root,
  }
  -- In one pass, so that no value is looked into.
  return (PAGE:gsub("%u%u%u%u+", values))
end

-- A headers object is dead once body() has waited, so this gives a live one back.
local function replace_body(handle, text)
  local body = handle:body(true)
  local headers = handle:headers()
  if body then
    headers:replace("content-length", tostring(body:setBytes(text)))
  end
  return headers
end

function envoy_on_response(handle)
  local came = handle:streamInfo():dynamicMetadata():get(OWN)
  if not came then
    return
  end
  local headers = handle:headers()
  local status = tonumber(headers:get("x-http-status") or headers:get(":status"))
  if status == 499 then
    -- The transcoder takes it for the caller who left, but whoever reads this has not: the service was stopped.
    status = 503
  end

  if status == 204 or status == 304 then
    headers = replace_body(handle, "")
    headers:remove("content-length")
    headers:remove("content-type")
  elseif status >= 400 then
    if headers:get("content-type") ~= "application/problem+json" then
      local problem = headers:get("x-problem")
      if not problem then
        local body = handle:body(true)
        local detail = body and status_message(body:getBytes(0, body:length())) or '""'
        problem = problem_document(status, detail, came.path)
      end
      headers = replace_body(handle, problem)
      headers:replace("content-type", "application/problem+json")
    end
    if came.people then
      local body = handle:body(true)
      local problem = body and body:getBytes(0, body:length()) or ""
      headers = replace_body(handle, problem_page(problem, status, came))
      headers:replace("content-type", "text/html; charset=utf-8")
      headers:replace("content-security-policy", PAGE_POLICY)
      headers:replace("cache-control", "no-store")
    elseif came.json then
      headers:replace("content-type", "application/json")
    end
    if came.head then
      headers = replace_body(handle, "")
    end
  end

  -- Of a stream, which the transcoder sends without one: a download that breaks must not look whole.
  local length = headers:get("x-content-length")
  if came.varies and not headers:get("vary") then
    headers:add("vary", "accept")
  end
  if came.alias then
    for name, value in pairs(CROSS_ORIGIN) do
      if not headers:get(name) then
        headers:add(name, value)
      end
    end
  end
  headers:replace(":status", tostring(status))
  for _, name in ipairs(INTERNAL) do
    headers:remove(name)
  end

  if came.head then
    if length and status < 300 then
      headers:replace("content-length", length)
    else
      headers:remove("content-length")
    end
    if status < 400 and status ~= 204 and status ~= 304 then
      -- May be long, so it is dropped as it comes.
      for chunk in handle:bodyChunks() do
        chunk:setBytes("")
      end
    end
  elseif length and status < 300 and status ~= 204 then
    headers:replace("content-length", length)
    local stream = handle:streamInfo()
    if tonumber(length) > ONE_PIECE and stream:protocol() ~= "HTTP/2" then
      -- Whoever misses bytes of a stream that broke shall hear at once that no more will come.
      stream:drainConnectionUponCompletion()
    end
  end
end
