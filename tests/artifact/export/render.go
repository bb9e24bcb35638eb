// Renders conversations with a template of Go's text/template, as ollama does.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"text/template"
)

type message struct{ Role, Content string }

func main() {
	var given struct {
		Template      string
		Conversations [][]message
	}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		panic(err)
	}
	parsed := template.Must(template.New("").Parse(given.Template))
	texts := []string{}
	for _, messages := range given.Conversations {
		var text bytes.Buffer
		if err := parsed.Execute(&text, map[string]any{"Messages": messages}); err != nil {
			panic(err)
		}
		texts = append(texts, text.String())
	}
	if err := json.NewEncoder(os.Stdout).Encode(texts); err != nil {
		panic(err)
	}
}
