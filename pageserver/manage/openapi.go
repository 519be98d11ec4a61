package manage

import (
	"encoding"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// describe writes what the table of routes says, as OpenAPI 3.
func describe(w http.ResponseWriter, r *http.Request) {
	serverOf(r).answer(w, r, http.StatusOK, openAPI())
}

type object = map[string]any

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

func openAPI() object {
	paths := object{}
	for _, r := range routes() {
		path := strings.TrimSuffix(r.path, "{$}") // which says that it is this path alone
		p, _ := paths[path].(object)
		if p == nil {
			p = object{}
			paths[path] = p
		}
		p[strings.ToLower(r.method)] = r.operation()
	}
	return object{
		"openapi": "3.0.3",
		"info":    object{"title": "Strata's management API", "version": "1", "description": "The part of Neon's pageserver API that benchmarks and embedders need."},
		"paths":   paths,
		"components": object{
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
			"schemas":         object{"Error": schema(reflect.TypeFor[message]())},
		},
	}
}

func (r *route) operation() object {
	op := object{"summary": r.says, "operationId": strings.ToLower(r.method) + strings.NewReplacer("/", "_", "{", "", "}", "", "$", "").Replace(r.path)}
	var parameters []object
	add := func(name, in string, must bool) {
		parameters = append(parameters, object{"name": name, "in": in, "required": must, "schema": object{"type": "string"}})
	}
	for _, m := range pathParameter.FindAllStringSubmatch(r.path, -1) {
		add(m[1], "path", true)
	}
	for _, q := range r.query {
		add(q, "query", false)
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	if r.body != nil {
		op["requestBody"] = object{"content": content(schema(r.body))}
	}
	good := object{"description": "done"}
	if r.reply != nil {
		good["content"] = content(schema(r.reply))
	}
	bad := object{"description": "what is wrong", "content": content(object{"$ref": "#/components/schemas/Error"})}
	op["responses"] = object{strconv.Itoa(http.StatusOK): good, "default": bad}
	if r.who != anyone {
		op["security"] = []object{{"token": []string{}}}
	}
	return op
}

func content(s object) object { return object{"application/json": object{"schema": s}} }

// schema describes the JSON of a type. Types that write themselves as text are strings.
func schema(t reflect.Type) object {
	text := reflect.TypeFor[encoding.TextMarshaler]()
	if t.Implements(text) || t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(text) {
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		s := schema(t.Elem())
		s["nullable"] = true
		return s
	case reflect.Struct:
		return structSchema(t)
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": schema(t.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Interface, reflect.Map:
		return object{}
	}
	return object{"type": "integer"}
}

func structSchema(t reflect.Type) object {
	fields := object{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields[name] = schema(f.Type)
	}
	return object{"type": "object", "properties": fields}
}
