// Writes clusters/apiserver/schemas.json: the fields of every kind, read from the Go sources of Kubernetes' API.
//
//	cd ci/schemas && go run . > ../../clusters/apiserver/schemas.json
//
// roots.txt names the kinds: package without version, version (and the module's version, where it is not
// the usual one: PodSecurityPolicy is in no later one), kinds. What their fields are made of comes along. The
// format is told in clusters/apiserver/schemas.py.
package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
)

const usual = "v0.36.0"

//go:embed roots.txt
var roots string

// Types that are one value in JSON, whatever they are made of in Go.
var scalars = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":       "time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":  "microtime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":   "duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":   "fields",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString": "intOrString",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":   "quantity",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":    "raw",
	"k8s.io/apimachinery/pkg/types.UID":               "string",
	"k8s.io/apimachinery/pkg/types.NodeName":          "string",
	apiextensions + ".JSON":                           "json",
	apiextensions + ".JSONSchemaPropsOrArray":         "json",
	apiextensions + ".JSONSchemaPropsOrBool":          "json",
	apiextensions + ".JSONSchemaPropsOrStringArray":   "json",
}

const apiextensions = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

var basic = map[string]string{
	"string": "string", "bool": "bool", "int32": "int32", "int64": "int64", "int": "int64",
	"float64": "double", "byte": "byte",
}

// A package is its types, by name, with the imports of the file each stands in.
type declared struct {
	spec    *ast.TypeSpec
	doc     string
	imports map[string]string
}

type source struct{ types map[string]declared }

type generator struct {
	packages map[string]*source
	versions map[string]string // of modules, for packages that do not come from the usual one
	out      map[string][][2]string
}

func main() {
	log.SetFlags(0)
	made := generator{map[string]*source{}, map[string]string{}, map[string][][2]string{}}
	for _, line := range strings.Split(strings.TrimSpace(roots), "\n") {
		words := strings.Fields(line)
		version, module, other := strings.Cut(words[1], "@")
		place := words[0] + "/" + version
		if other {
			made.versions[place] = module
		}
		for _, kind := range words[2:] {
			made.emit(place, kind)
		}
	}
	if err := made.write(); err != nil {
		log.Fatal(err)
	}
}

func (g *generator) write() error {
	names := make([]string, 0, len(g.out))
	for name := range g.out {
		names = append(names, name)
	}
	sort.Strings(names)
	var text strings.Builder
	for at, name := range names {
		parts := make([]string, 0, len(g.out[name]))
		for _, field := range g.out[name] {
			parts = append(parts, fmt.Sprintf("%q: %q", field[0], field[1]))
		}
		end := ","
		if at == len(names)-1 {
			end = ""
		}
		fmt.Fprintf(&text, " %q: {%s}%s\n", name, strings.Join(parts, ", "), end)
	}
	_, err := fmt.Fprintf(os.Stdout, "{\n%s}\n", text.String())
	return err
}

// typeName is how schemas.py calls a type: group, version and name.
func typeName(place, name string) string {
	return fmt.Sprintf("%s.%s.%s", path.Base(path.Dir(place)), path.Base(place), name)
}

func (g *generator) emit(place, name string) {
	full := typeName(place, name)
	if _, done := g.out[full]; done {
		return
	}
	found := g.find(place, name)
	made, ok := found.spec.Type.(*ast.StructType)
	if !ok {
		log.Fatalf("%s.%s is no struct", place, name)
	}
	g.out[full] = [][2]string{}
	var fields [][2]string
	for _, field := range made.Fields.List {
		if told, ok := g.field(place, found.imports, field); ok {
			fields = append(fields, told)
		}
	}
	g.out[full] = fields
}

func (g *generator) field(place string, imports map[string]string, field *ast.Field) ([2]string, bool) {
	if field.Tag == nil {
		return [2]string{}, false
	}
	tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`"))
	name := strings.Split(tag.Get("json"), ",")[0]
	number := strings.Split(tag.Get("protobuf"), ",")
	if name == "-" || len(number) < 2 {
		return [2]string{}, false // TypeMeta, and what is never sent
	}
	kind, pointer, atomic := g.kind(place, imports, field.Type)
	if name == "" {
		name, atomic = "+"+kind[strings.LastIndex(kind, ".")+1:], false
	}
	words := []string{number[1], kind}
	marks := markers(field.Doc.Text())
	strategy := tag.Get("patchStrategy")
	if key := tag.Get("patchMergeKey"); key != "" {
		words = append(words, "merge="+key)
	} else if strings.Contains(strategy, "merge") {
		words = append(words, "merge")
	}
	if strings.Contains(strategy, "retainKeys") {
		words = append(words, "retain")
	}
	if keys := marks["listMapKey"]; len(keys) > 0 {
		words = append(words, "keys="+strings.Join(keys, ","))
	}
	if has(marks["listType"], "set") {
		words = append(words, "set")
	}
	if pointer {
		words = append(words, "ptr")
	}
	if atomic || has(marks["mapType"], "atomic") || has(marks["structType"], "atomic") {
		words = append(words, "atomic")
	}
	return [2]string{name, strings.Join(words, " ")}, true
}

// kind is a Go type in the words of schemas.py; whether it may be left out, and whether it is applied whole.
func (g *generator) kind(place string, imports map[string]string, expr ast.Expr) (string, bool, bool) {
	switch found := expr.(type) {
	case *ast.StarExpr:
		kind, _, atomic := g.kind(place, imports, found.X)
		return kind, true, atomic
	case *ast.ArrayType:
		kind, _, _ := g.kind(place, imports, found.Elt)
		if kind == "byte" {
			return "bytes", false, false
		}
		return "[]" + kind, false, false
	case *ast.MapType:
		kind, _, _ := g.kind(place, imports, found.Value)
		return "{}" + kind, false, false
	case *ast.SelectorExpr:
		return g.named(imports[found.X.(*ast.Ident).Name], found.Sel.Name)
	case *ast.Ident:
		if kind, ok := basic[found.Name]; ok {
			return kind, false, false
		}
		return g.named(place, found.Name)
	}
	log.Fatalf("%s: a type of a sort that is not known: %T", place, expr)
	return "", false, false
}

func (g *generator) named(place, name string) (string, bool, bool) {
	if kind, ok := scalars[place+"."+name]; ok {
		return kind, false, kind == "raw"
	}
	found := g.find(place, name)
	if _, ok := found.spec.Type.(*ast.StructType); ok {
		g.emit(place, name)
		return typeName(place, name), false, has(markers(found.doc)["structType"], "atomic")
	}
	kind, pointer, atomic := g.kind(place, found.imports, found.spec.Type)
	if strings.HasPrefix(kind, "[]") {
		kind = "[!]" + kind[2:] // a named list is a message of its own in protobuf
	}
	return kind, pointer, atomic || has(markers(found.doc)["mapType"], "atomic")
}

func (g *generator) find(place, name string) declared {
	if g.packages[place] == nil {
		g.packages[place] = g.read(place)
	}
	found, ok := g.packages[place].types[name]
	if !ok {
		log.Fatalf("%s has no type %s", place, name)
	}
	return found
}

// read parses the files of a package, out of the module cache of go.
func (g *generator) read(place string) *source {
	module := strings.Join(strings.Split(place, "/")[:2], "/")
	version := usual
	if other, ok := g.versions[place]; ok {
		version = other
	}
	told, err := exec.Command("go", "mod", "download", "-json", module+"@"+version).Output()
	if err != nil {
		log.Fatalf("go mod download %s@%s: %v", module, version, err)
	}
	var where struct{ Dir string }
	if err := json.Unmarshal(told, &where); err != nil {
		log.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(where.Dir, strings.TrimPrefix(place, module), "*.go"))
	if err != nil || len(files) == 0 {
		log.Fatalf("%s: no sources in %s", place, where.Dir)
	}
	made := &source{map[string]declared{}}
	for _, file := range files {
		made.add(file)
	}
	return made
}

func (s *source) add(file string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		log.Fatal(err)
	}
	imports := map[string]string{}
	for _, each := range parsed.Imports {
		place := strings.Trim(each.Path.Value, `"`)
		name := path.Base(place)
		if each.Name != nil {
			name = each.Name.Name
		}
		imports[name] = place
	}
	for _, decl := range parsed.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			if named, ok := spec.(*ast.TypeSpec); ok {
				doc := group.Doc.Text() + named.Doc.Text()
				s.types[named.Name.Name] = declared{named, doc, imports}
			}
		}
	}
}

// markers are the lines of a comment such as +listType=set.
func markers(doc string) map[string][]string {
	found := map[string][]string{}
	for _, line := range strings.Split(doc, "\n") {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "+"), "="); ok &&
			strings.HasPrefix(strings.TrimSpace(line), "+") {
			found[name] = append(found[name], strings.TrimSpace(value))
		}
	}
	return found
}

func has(values []string, wanted string) bool {
	for _, value := range values {
		if value == wanted {
			return true
		}
	}
	return false
}
